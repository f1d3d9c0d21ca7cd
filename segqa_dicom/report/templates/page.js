"use strict";
document.documentElement.classList.add("script");

function filterCards(section) {
  const words = section.querySelector(".filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0, total = 0;
  for (const card of section.querySelectorAll(".card")) {
    const text = card.textContent.toLowerCase();
    card.hidden = !words.every(word => text.includes(word));
    total += 1;
    shown += card.hidden ? 0 : 1;
  }
  section.querySelector(".tally").textContent = words.length ? shown + " of " + total : "";
}

function close() {
  const figure = document.querySelector("figure.large");
  if (!figure) return;
  figure.classList.remove("large");
  document.documentElement.classList.remove("zoomed");
  const button = figure.querySelector(".enlarge");
  button.textContent = "enlarge";
  button.focus();
}

function sortBy(heading) {
  const body = heading.closest("table").tBodies[0];
  const rows = Array.from(body.rows);
  const down = heading.getAttribute("aria-sort") !== "descending";
  const value = row => {
    const text = row.cells[heading.cellIndex].textContent.trim();
    const number = parseFloat(text.replace(/\u202f/g, "").replace("−", "-"));
    return heading.classList.contains("n") ? (isNaN(number) ? -Infinity : number) : text;
  };
  const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", {numeric: true});
  rows.sort((a, b) => compare(value(a), value(b)) * (down ? -1 : 1));
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows);
}

document.addEventListener("input", event => {
  if (event.target.classList.contains("filter")) filterCards(event.target.closest("section"));
});
document.addEventListener("click", event => {
  const figure = event.target.closest("figure");
  const heading = event.target.closest(".numbers thead th");
  if (heading) return sortBy(heading);
  if (document.querySelector("figure.large")) return close();
  if (!figure || !event.target.closest(".planes, .enlarge")) return;
  figure.classList.add("large");
  document.documentElement.classList.add("zoomed");
  figure.querySelector(".enlarge").textContent = "close";
  figure.querySelector(".enlarge").focus();
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape") close();
  const heading = event.target.closest?.(".numbers thead th");
  if (heading && event.key === "Enter") sortBy(heading);
});
for (const heading of document.querySelectorAll(".numbers thead th")) heading.tabIndex = 0;
