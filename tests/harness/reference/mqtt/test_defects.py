"""The registry of defects: each name is asked for in the source, and each breaks a conversation."""

import importlib.util
import inspect
import re
from functools import partial
from pathlib import Path

import pytest
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.reference import mqtt
from mqproof.harness.reference.mqtt.defects import DEFECTS, check_known

ASKED = re.compile(r"""(?:defective|broken)\("([a-z0-9-]+)"\)""")
DELAYED, FIRST = "sessions.will_delay", "sessions.will_is_published_when_the_session_ends_first"
AGAIN = "sessions.unacknowledged_messages_come_again_with_dup_same_id_and_order"
REPLACED = "retained.retained_message_is_replaced_and_cleared"
ONCE = "publish.qos_2_publish_repeated_before_pubrel_is_delivered_once"
AWAY = "retained.message_expiry_for_a_session_that_was_away"
EDGE = "subscribe.edges_of_wildcards"

# The conversation that each defect breaks: "file.function" without "test_", and arguments for parametrized ones.
BROKEN_BY = {
    "dollar-matched-by-wildcard": "publish.version_is_published",
    "hash-without-parent": (EDGE, {"text": "a/#", "topic": "a", "selected": True, "retain": False}),
    "plus-needs-text": (EDGE, {"text": "a/+", "topic": "a/", "selected": True, "retain": True}),
    "topics-case-insensitive": "subscribe.topics_are_compared_code_point_by_code_point",
    "retained-not-stored": REPLACED,
    "retained-not-replaced": REPLACED,
    "retained-not-cleared": REPLACED,
    "retained-empty-stored": REPLACED,
    "retained-by-plain-publish": REPLACED,
    "retained-cleared-by-plain-publish": REPLACED,
    "retained-with-session": "retained.retained_messages_outlive_their_publisher",
    "retained-only-exact": "retained.retained_messages_outlive_their_publisher",
    "retained-on-new-only": "retained.subscribing_again_brings_retained_messages_in_3_1_1",
    "retain-handling-ignored": ("retained.retain_handling", {"handling": 2, "first": 0, "second": 0}),
    "retained-to-shared": "subscribe.shared_subscriptions_bring_no_retained_messages",
    "retained-qos-zero": "retained.retained_message_comes_with_the_subscription_only",
    "session-forgotten": "sessions.session_is_resumed_with_its_subscriptions",
    "session-kept": "sessions.clean_start_discards_the_session",
    "session-expiry-ignored": "sessions.session_expires",
    "session-expiry-of-connect": "sessions.disconnect_changes_the_expiry",
    "subscriptions-forgotten": "sessions.session_is_resumed_with_its_subscriptions",
    "offline-messages-lost": "sessions.messages_are_queued_for_an_absent_session_in_order",
    "in-flight-lost": AGAIN,
    "received-ids-lost": "sessions.received_qos_2_identifiers_are_session_state",
    "client-id-shared-state": "sessions.identifiers_are_told_apart_to_their_last_letter",
    "assigned-id-constant": "connect.assigned_client_id_is_told_and_names_the_session",
    "takeover-ignored": "connect.takeover_closes_the_older_connection",
    "will-lost": DELAYED,
    "will-after-disconnect": "sessions.no_will_after_disconnect",
    "will-not-after-cut": DELAYED,
    "will-not-retained": ("sessions.will_after_a_cut", {"qos": 1, "retain": True}),
    "will-always-retained": ("sessions.will_after_a_cut", {"qos": 1, "retain": False}),
    "will-delay-ignored": DELAYED,
    "will-survives-resume": "sessions.resuming_in_time_withdraws_the_will",
    "will-waits-for-delay": FIRST,
    "will-twice": DELAYED,
    "will-properties-lost": DELAYED,
    "qos1-not-resent": AGAIN,
    "qos2-not-resent": AGAIN,
    "pubrel-not-resent": AGAIN,
    "publish-after-pubrel": "sessions.pubrel_comes_again_until_pubcomp",
    "resent-after-ack": AGAIN,
    "resent-with-new-id": AGAIN,
    "resent-in-reverse": AGAIN,
    "resent-without-dup": AGAIN,
    "dup-forwarded": "publish.outgoing_dup_is_the_servers_own",
    "packet-id-constant": AGAIN,
    "offline-reversed": "sessions.messages_are_queued_for_an_absent_session_in_order",
    "qos2-delivered-again": ONCE,
    "qos2-id-never-freed": ONCE,
    "qos1-id-remembered": "publish.qos_1_id_is_free_after_puback_whatever_dup_says",
    "granted-qos-ignored": "subscribe.same_filter_again_replaces_the_subscription",
    "always-granted-qos": ("publish.delivered_at_the_lower_qos", {"published": 0, "granted": 1}),
    "receive-maximum-ignored": "publish.clients_receive_maximum_is_kept",
    "expiry-ignored": AWAY,
    "expiry-not-reduced": AWAY,
    "expiry-of-started": ("retained.started_message_does_not_expire", {"qos": 2}),
    "too-large-sent": "publish.message_too_large_for_a_client_counts_as_delivered",
    "too-large-blocks": "publish.message_too_large_for_a_client_counts_as_delivered",
    "subscription-not-replaced": "subscribe.same_filter_again_replaces_the_subscription",
    "subscription-lost-on-replace": "subscribe.replacing_a_subscription_loses_nothing_that_waits",
    "unsubscribe-ignored": "subscribe.unsubscribe_is_literal_and_always_answered",
    "unsubscribe-by-match": "subscribe.unsubscribe_is_literal_and_always_answered",
    "unsubscribe-drops-in-flight": "subscribe.deliveries_that_started_are_finished_after_unsubscribe",
    "overlap-lowest-qos": "subscribe.overlapping_subscriptions_get_one_copy_at_the_highest_qos",
    "overlap-first-identifier": "subscribe.overlapping_subscriptions_bring_all_identifiers",
    "identifiers-forgotten": "subscribe.overlapping_subscriptions_bring_all_identifiers",
    "no-local-ignored": "subscribe.no_local",
    "retain-as-published-ignored": ("retained.retain_as_published", {"flag": True}),
    "retain-always-published": ("retained.retain_as_published", {"flag": False}),
    "shared-to-all": "subscribe.shared_messages_go_to_one_member_each",
    "shared-qos-ignored": "subscribe.shared_delivery_at_each_members_qos",
    "shared-redirected": "subscribe.started_qos_2_stays_with_its_member",
    "keep-alive-ignored": "connect.silent_client_is_dropped_after_one_and_a_half_keep_alives",
    "keep-alive-early": "connect.silent_client_is_dropped_after_one_and_a_half_keep_alives",
    "aliases-kept": "publish.client_aliases",
    "alias-maximum-ignored": "publish.server_aliases_stay_within_the_clients_maximum",
    "shared-to-the-gone": "subscribe.member_whose_session_has_ended_gets_no_share",
    "login-ignored": "sessions.refused_connection_has_no_will",
    "properties-reversed": "retained.properties_are_passed_on_in_order",
    "properties-dropped": "retained.properties_are_passed_on_in_order",
}


def test_every_defect_is_asked_for_and_known():
    (folder,) = mqtt.__path__
    asked = {name for path in Path(folder).glob("*.py") for name in ASKED.findall(path.read_text())}
    in_frames = {name for name in DEFECTS if name.startswith("web-")}  # their conversations: test_websocket.py
    assert asked == DEFECTS.keys() == BROKEN_BY.keys() | in_frames


def test_unknown_defect_is_refused():
    with pytest.raises(ValueError, match="no-such-thing"):
        check_known(frozenset({"no-such-thing", "will-lost"}))


@pytest.fixture(scope="module")
def conversation():
    """Return a test function of this folder by "file.function"."""
    modules = {}

    def find(name):
        file, _, function = name.partition(".")
        if file not in modules:
            path = Path(__file__).with_name(f"test_{file}.py")
            spec = importlib.util.spec_from_file_location(f"conversations_{file}", path)
            modules[file] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(modules[file])
        return getattr(modules[file], f"test_{function}")

    return find


@pytest.mark.parametrize("defect", BROKEN_BY)
def test_defect_breaks_its_conversation(conversation, make_world, defect):
    entry = BROKEN_BY[defect]
    name, more = (entry, {}) if isinstance(entry, str) else entry
    test = conversation(name)
    wanted = inspect.signature(test).parameters

    def converse(*defects):
        own = {"world": make_world(*defects), "make_world": partial(make_world, *defects), "version": Version.V5_0}
        test(**{key: value for key, value in own.items() if key in wanted}, **more)

    converse()
    with pytest.raises((AssertionError, ValueError)):  # what must come did not, or not in that number
        converse(defect)
