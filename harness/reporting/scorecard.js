"use strict";
const WORDS = ["deviates", "inconclusive", "known-deviation", "unsupported", "conforms", "untested"];
const SIGNS = { deviates: "✗", inconclusive: "?", "known-deviation": "!", unsupported: "–", conforms: "✓", untested: "·" };
const LEVELS = ["MUST", "MUST NOT", "documented", "unstated", "SHOULD", "SHOULD NOT", "MAY", "MAY NOT"];
const FEW = 4; // brokers whose columns fit beside each other on a desk
const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") element.addEventListener("click", value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function table(headings, rows, numbersFrom = 99) {
  const cell = (kind, content, n) => make(kind, n >= numbersFrom ? { class: "n" } : {}, content);
  const head = make("thead", {}, make("tr", {}, ...headings.map((text, n) => cell("th", text, n))));
  const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((part, n) => cell("td", part, n)))));
  return make("div", { class: "scroll" }, make("table", {}, head, body));
}

const tag = (verdict) => make("span", { class: `tag ${verdict}` }, `${SIGNS[verdict]} ${verdict}`);
const targetOf = (spec, n) => DATA.targets[spec.columns[n]];
const isJudged = (cell) => !["untested", "unsupported"].includes(cell.v);
const statementsOf = (spec) => spec.sections.flatMap((section) => section.statements);

function bar(counts, total) {
  const parts = WORDS.filter((word) => counts[word]).map((word) =>
    make("span", { class: word, style: `width:${(100 * counts[word]) / total}%`, title: `${counts[word]} ${word}` }));
  return make("div", { class: "bar", role: "img", "aria-label": WORDS.map((word) => `${counts[word] || 0} ${word}`).join(", ") }, ...parts);
}

function showSummary() {
  const rows = [];
  for (const spec of DATA.specs) {
    spec.columns.forEach((_, n) => {
      const counts = {};
      for (const row of statementsOf(spec)) counts[row.cells[n].v] = (counts[row.cells[n].v] || 0) + 1;
      const testable = statementsOf(spec).filter((row) => row.testable !== "no");
      const tested = testable.filter((row) => isJudged(row.cells[n])).length;
      const target = targetOf(spec, n);
      rows.push([make("b", { class: "name" }, target.name), target.product, spec.title, bar(counts, statementsOf(spec).length),
        ...WORDS.slice(0, 5).map((word) => String(counts[word] || 0)), `${tested}\u00a0of\u00a0${testable.length}`]);
    });
  }
  $("summary").append(table(["broker", "product", "specification", "", ...WORDS.slice(0, 5).map((word) =>
    word.replace("known-deviation", "known")), "judged"], rows, 4));
}

function cellsOf(verdict) {
  const found = [];
  for (const spec of DATA.specs) for (const row of statementsOf(spec)) row.cells.forEach((cell, n) => {
    if (cell.v === verdict) found.push({ spec, row, cell, n });
  });
  return found.sort((a, b) => LEVELS.indexOf(a.row.level) - LEVELS.indexOf(b.row.level) || a.row.id.localeCompare(b.row.id));
}

function statementLink({ spec, row, n }) {
  const show = (event) => { event.preventDefault(); open(spec, row, n); };
  return make("div", {}, make("a", { href: "#", onclick: show }, `${spec.spec}:${row.id}`), make("div", { class: "dim" }, row.summary));
}

function showDeviations() {
  const found = cellsOf("deviates"), known = cellsOf("known-deviation");
  const broker = ({ spec, n }) => make("span", { class: "name" }, targetOf(spec, n).name);
  $("deviations").append(!found.length ? make("p", { class: "dim" }, "None.") :
    table(["level", "statement", "broker", "expected", "actual"], found.map((one) => [one.row.level, statementLink(one),
      broker(one), make("code", {}, short(one.cell.expected)), make("code", {}, short(one.cell.actual))])));
  if (known.length) $("deviations").append(make("details", { id: "known" }, make("summary", {}, `${known.length} known deviations`),
    table(["level", "statement", "broker", "known because"], known.map((one) =>
      [one.row.level, statementLink(one), broker(one), short(one.cell.reason)]))));
}

const linked = (text) => make("span", {}, ...text.split(/(https?:\/\/[^\s)]+)/).map((part, n) =>
  n % 2 ? make("a", { href: part, rel: "noreferrer" }, part) : part));

const short = (text) => (text && text.length > 160 ? text.slice(0, 159) + "…" : text || "");

function showCoverage() {
  for (const spec of DATA.specs) {
    const rows = spec.sections.map((section) => {
      const testable = section.statements.filter((row) => row.testable !== "no");
      return [section.name, String(section.statements.length), String(testable.length),
        ...spec.columns.map((_, n) => String(testable.filter((row) => isJudged(row.cells[n])).length))];
    });
    const names = spec.columns.map((_, n) => `judged on ${targetOf(spec, n).name}`);
    $("coverage").append(make("details", {}, make("summary", {}, spec.title),
      table(["section", "statements", "testable", ...names], rows, 1)));
  }
}

function checkboxes(id, words) {
  for (const word of words) {
    $(id).append(make("label", {}, make("input", { type: "checkbox", value: word, checked: "" }), word));
  }
}

const chosen = (id) => new Set([...$(id).querySelectorAll("input:checked")].map((box) => box.value));

function isShown(spec, section, row) {
  const text = $("search").value.trim().toLowerCase();
  const verdicts = chosen("verdicts");
  if (!chosen("levels").has(row.level)) return false;
  if (!row.cells.some((cell) => verdicts.has(cell.v))) return false;
  if ($("differ").checked && new Set(row.cells.map((cell) => cell.v)).size < 2) return false;
  return !text || `${spec.spec}:${row.id} ${section.name} ${row.summary}`.toLowerCase().includes(text);
}

function showMatrix() {
  const parts = [];
  let count = 0;
  for (const spec of DATA.specs.filter((one) => ["", one.spec].includes($("spec").value))) {
    const bodies = [];
    for (const section of spec.sections) {
      const rows = section.statements.filter((row) => isShown(spec, section, row));
      if (!rows.length) continue;
      count += rows.length;
      const head = make("tr", {}, make("th", { colspan: 2 + spec.columns.length, scope: "rowgroup" }, section.name));
      bodies.push(make("tbody", {}, head, ...rows.map((row) => matrixRow(spec, row))));
    }
    if (!bodies.length) continue;
    const columns = spec.columns.map((_, n) => make("th", { scope: "col" }, targetOf(spec, n).name,
      make("div", { class: "dim" }, targetOf(spec, n).product)));
    const widths = make("colgroup", {}, make("col", { class: "s" }), make("col", { class: "l" }),
      ...spec.columns.map(() => make("col", { class: "c" })));
    const names = make("tr", {}, make("th", { scope: "col" }, "statement"), make("th", { scope: "col", class: "l" }, "level"), ...columns);
    const grid = make("table", { class: "grid", style: `--brokers:${spec.columns.length}` }, make("caption", {}, spec.title), widths,
      make("thead", {}, names), ...bodies);
    parts.push(make("div", { class: spec.columns.length <= FEW ? "scroll few" : "scroll" }, grid));
  }
  $("matrix").replaceChildren(...parts);
  $("count").textContent = `${count} statements`;
  const first = document.querySelector(".cell button");
  if (first) first.tabIndex = 0;
}

function matrixRow(spec, row) {
  const cells = row.cells.map((cell, n) => make("td", { class: "cell" }, make("button", {
    class: cell.v, tabindex: -1, "aria-label": `${row.id} on ${targetOf(spec, n).name}: ${cell.v}`,
    onclick: () => open(spec, row, n) }, `${SIGNS[cell.v]} ${cell.v}`)));
  return make("tr", {}, make("td", {}, make("code", {}, row.id), make("span", { class: "l dim" }, ` ${row.level}`), make("div", {}, row.summary),
    row.testable === "no" ? make("div", { class: "dim" }, `not testable from a client: ${row.why}`) : null),
    make("td", { class: "l" }, row.level), ...cells);
}

function placeHeads() {
  const filters = $("filters"), isSticky = getComputedStyle(filters).position === "sticky";
  document.documentElement.style.setProperty("--filters", `${isSticky ? filters.offsetHeight : 0}px`);
}

function open(spec, row, n) {
  const cell = row.cells[n], target = targetOf(spec, n);
  const facts = [["statement", row.summary], ["level", `${row.level}, binds ${row.actor === "both" ? "both sides" : `the ${row.actor}`}`],
    ["broker", `${target.name}: ${target.product} at ${target.url}`], ["verdict", tag(cell.v)]];
  for (const name of ["expected", "actual"]) if (cell[name]) facts.push([name, make("code", {}, cell[name])]);
  if (cell.reason) facts.push(["reason", linked(cell.reason)]);
  if (cell.v !== "untested") {
    facts.push(["repeat", make("code", {}, `mqproof test ${target.again} --statement ${spec.spec}:${row.id}`)]);
  }
  const list = make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  const title = make("h2", { id: "d-title" }, `${spec.spec}:${row.id} `, make("a", { href: row.link, rel: "noreferrer" }, "text"));
  const parts = [title, list];
  for (const one of cell.evidence || []) {
    const picture = make("figure", {});
    picture.innerHTML = one.svg; // made by mqproof, every text in it escaped
    parts.push(make("h3", {}, make("code", {}, one.test)), picture,
      make("details", {}, make("summary", {}, "as text"), make("pre", {}, one.text)));
  }
  if (cell.tests) parts.push(make("details", {}, make("summary", {}, `${cell.tests.length} tests`), make("pre", {}, cell.tests.join("\n"))));
  $("d-body").replaceChildren(...parts);
  $("detail").showModal();
}

function move(event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const from = event.target.closest(".cell button");
  if (!steps || !from) return;
  event.preventDefault();
  const rows = [...document.querySelectorAll(".grid tr")].filter((row) => row.querySelector(".cell"));
  const here = from.closest("tr");
  const at = [...here.querySelectorAll(".cell button")].indexOf(from);
  const row = rows[rows.indexOf(here) + steps[0]];
  const to = row && [...row.querySelectorAll(".cell button")][Math.min(at + steps[1], row.querySelectorAll(".cell").length - 1)];
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

$("about").textContent = DATA.runs.map((run) => `run of ${run.started.slice(0, 16).replace("T", " ")} UTC` +
  `${run.complete ? "" : " (not complete)"}, mqproof ${run.version}`).join("; ");
$("spec").append(make("option", { value: "" }, "all specifications"),
  ...DATA.specs.map((spec) => make("option", { value: spec.spec }, spec.title)));
checkboxes("levels", LEVELS.filter((level) => DATA.specs.some((spec) => statementsOf(spec).some((row) => row.level === level))));
checkboxes("verdicts", WORDS);
showSummary();
showDeviations();
showCoverage();
showMatrix();
placeHeads();
window.addEventListener("resize", placeHeads);
$("filters").addEventListener("input", showMatrix);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("matrix").addEventListener("keydown", move);
