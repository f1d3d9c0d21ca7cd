// Keys of the worklist: n and Enter open the next segment.
const next = document.getElementById("next");

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !next) return;
  if (event.target.closest("input, select, textarea, button, a, summary")) return;
  if (event.key === "n" || event.key === "Enter") {
    event.preventDefault();
    next.click();
  }
});

for (const picture of document.querySelectorAll(".card img")) {
  picture.addEventListener("error", () => { picture.style.visibility = "hidden"; });
}
