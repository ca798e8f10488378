// Filters the list of tables by words, all of which a table must have: in its name, description, owner, tags, or columns.
"use strict";
const words = JSON.parse(document.getElementById("words").textContent);
const input = document.getElementById("search");
const count = document.getElementById("count");
const MOST_HITS = 4;
const entries = [...document.querySelectorAll("[data-table]")].map((item) => {
  const name = item.dataset.table;
  const columns = words[name].map(([column, text]) => ({ column, text, key: `${column} ${text}`.toLowerCase() }));
  const own = `${name} ${item.querySelector(".what").textContent}`.toLowerCase();
  return { item, columns, own, all: [own, ...columns.map((found) => found.key)].join("\n"), hits: item.querySelector(".hits"),
    page: item.querySelector("h3 a").getAttribute("href") };
});

function showHits(entry, asked) {
  const found = asked.length ? entry.columns.filter((each) => asked.some((word) => each.key.includes(word) && !entry.own.includes(word))) : [];
  entry.hits.hidden = !found.length;
  entry.hits.replaceChildren(...found.slice(0, MOST_HITS).map((each) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = `${entry.page}#column-${each.column}`;
    link.textContent = each.column;
    line.append(link, each.text ? ` ${each.text}` : "");
    return line;
  }));
}

function search() {
  const asked = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const entry of entries) {
    entry.item.hidden = !asked.every((word) => entry.all.includes(word));
    shown += !entry.item.hidden;
    showHits(entry, entry.item.hidden ? [] : asked);
  }
  for (const section of document.querySelectorAll(".namespace")) section.hidden = !section.querySelector("[data-table]:not([hidden])");
  count.textContent = asked.length ? `${shown} of ${entries.length} tables` : "";
}

function fromAddress() {
  if (!location.hash.startsWith("#q=")) return;
  try {
    input.value = decodeURIComponent(location.hash.slice(3));
  } catch {
    return; // not an address that these pages make
  }
  search();
  window.scrollTo(0, 0);
}

document.querySelector(".search").hidden = false;
input.addEventListener("input", () => {
  history.replaceState(null, "", input.value ? `#q=${encodeURIComponent(input.value)}` : "#");
  search();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== input) {
    event.preventDefault();
    input.focus();
  }
  if (event.key === "Escape" && document.activeElement === input) {
    input.value = "";
    input.dispatchEvent(new Event("input"));
  }
});
window.addEventListener("hashchange", fromAddress);
fromAddress();
