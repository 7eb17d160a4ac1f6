// Sort a table by the column whose heading is pressed; press again to reverse the order.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), table = heading.closest("table");
    const column = Number(button.dataset.column);
    const falling = heading.getAttribute("aria-sort") !== "descending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const order = (a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === ""); // undefined values stay at the end
      const difference = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return falling ? -difference : difference;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(order));
  });
}
// Show only one class on the maps; press again to show all.
for (const button of document.querySelectorAll("button[data-k]")) {
  button.addEventListener("click", () => {
    const chosen = button.getAttribute("aria-pressed") !== "true";
    for (const other of document.querySelectorAll("button[data-k]")) {
      other.setAttribute("aria-pressed", String(chosen && other === button));
    }
    for (const dots of document.querySelectorAll(".map .k")) {
      dots.classList.toggle("faint", chosen && dots.dataset.k !== button.dataset.k);
    }
  });
}
// Open all details before printing.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
