"""A forecast on the terminal."""

from typing import Any

from mqproof.harness.reporting.tables import figure, titled_table
from rich.console import Console

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def print_forecast(result: dict[str, Any], console: Console) -> None:
    """Print one row for each way to send it, at most 80 columns wide."""
    console.width = min(console.width, 80)
    given = result["conditions"]
    console.print(result["title"])
    console.print(_conditions(given))
    columns = ("per message", "packets", "per day", "packets", "per month")
    table = titled_table("One device: bytes from Ethernet up", "", *columns)
    for row in result["rows"]:
        day = row["device_day"]
        table.add_row(
            row["way"], f"{row['bytes_per_message']:,.0f} B", figure(row["packets_per_message"]), amount(day["bytes"]),
            f"{day['packets']:,}", amount(row["device_month"]["bytes"]),
        )  # fmt: skip
    console.print(table)
    many = f"All {given['devices']:,} devices" if given["devices"] > 1 else "The one device"
    table = titled_table(f"{many}, a month", "", "billed", "deliveries to consumers")
    for row in result["rows"]:
        delivered = row["consumers_month"]["bytes"]
        table.add_row(row["way"], amount(row["billed_month"]), amount(delivered) if delivered else "-")
    console.print(table)
    console.print(_billing(given))
    if any(row["upper_bound"] for row in result["rows"]):
        console.print("Messages come so fast that they will share packets: these figures are an upper bound.")


def amount(octets: float) -> str:
    """Return octets with a unit of ten's powers, three digits."""
    for size, unit in UNITS:
        if octets >= size:
            return f"{octets / size:.3g} {unit}" if octets < 999.5 * size else f"{octets / size:,.0f} {unit}"
    return f"{octets:,.0f} B"


def _conditions(given: dict[str, Any]) -> str:
    parts = [f"keep-alive {given['keep_alive']} s" if given["keep_alive"] else "no keep-alive"]
    parts.append(f"{figure(given['reconnects_per_day'])} connections a day")
    if given["tls"]:
        parts.append(f"TLS {given['tls']}, {given['resumed']:.0%} of the handshakes resumed")
    else:
        parts.append("no TLS")
    parts.append("IPv6" if given["ipv6"] else "IPv4")
    if given["topic_alias"]:
        parts.append("MQTT 5 with topic aliases")
    return ", ".join(parts)


def _billing(given: dict[str, Any]) -> str:
    text = "Billed from the IP layer"
    if given["extra_per_packet"]:
        text += f", {given['extra_per_packet']} octets added to each packet"
    if given["round_up"] > 1:
        times = f"{given['periods_per_month']:,.0f} times a month" if given["periods_per_month"] > 1 else "once a month"
        text += f", rounded up to {given['round_up']:,} octets for each device {times}"
    return text + "."
