"use strict";
// The address holds the search and the order, for instance #search=ring&sort0=-clipsim (descending), so that
// a view can be shared; the page follows the address. Without this script it shows all, in the study's order.
const panels = [...document.querySelectorAll("article")];
const texts = panels.map((panel) =>
  [...panel.querySelectorAll("h3, dd")].map((part) => part.textContent).join(" ").toLowerCase());
const tables = [...document.querySelectorAll("table.results")];
const orders = tables.map((table) => [...table.tBodies[0].rows]);
const box = document.querySelector("#search input");
const found = document.querySelector("#search output");

const view = () => new URLSearchParams(location.hash.slice(1));

function show() {
  const state = view();
  tables.forEach((table, index) => sort(table, orders[index], state.get(`sort${index}`) ?? ""));
  if (box) search(state.get("search") ?? "");
}

function change(name, value) {
  const state = view();
  if (value) state.set(name, value); else state.delete(name);
  history.replaceState(null, "", `#${state}`);
  show();
}

function search(text) {
  if (box.value !== text) box.value = text;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  panels.forEach((panel, index) => { panel.hidden = !words.every((word) => texts[index].includes(word)); });
  const shown = panels.filter((panel) => !panel.hidden).length;
  found.textContent = `${shown} of ${panels.length} prompts`;
}

function sort(table, rows, requested) {
  const descending = requested.startsWith("-");
  const headings = [...table.tHead.rows[0].cells];
  const column = headings.findIndex((heading) => heading.dataset.key === requested.replace(/^-/, ""));
  headings.forEach((heading, index) => {
    if (index === column) heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  });
  const order = (a, b) => compare(a.cells[column], b.cells[column], descending);
  const sorted = column < 0 ? rows : [...rows].sort(order);
  table.tBodies[0].append(...sorted);
}

function compare(a, b, descending) {
  const [left, right] = [key(a), key(b)];
  if (left === "" || right === "") return (left === "") - (right === "");  // cells without a value stay last
  const order = typeof left === "number" ? left - right : left.localeCompare(right);
  return descending ? -order : order;
}

function key(cell) {
  const value = cell.dataset.value ?? cell.textContent;
  return cell.dataset.value ? Number(value) : value;
}

// The best first, then the worst first, then the study's order again.
function next(heading, current) {
  const up = heading.dataset.key, down = `-${up}`;
  const [first, second] = heading.dataset.better === "higher" ? [down, up] : [up, down];
  return current === first ? second : current === second ? "" : first;
}

tables.forEach((table, index) => {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    if (!button.textContent) button.setAttribute("aria-label", "Row");
    const name = `sort${index}`;
    button.addEventListener("click", () => change(name, next(heading, view().get(name) ?? "")));
    heading.append(button);
  }
});
if (box) {
  box.closest("#search").hidden = false;
  box.addEventListener("input", () => change("search", box.value));
}
addEventListener("hashchange", show);
show();
