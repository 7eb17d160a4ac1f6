// Decisions about labels, and the table of corrections. Decisions of one clip are applied together.
const items = [...document.querySelectorAll("ol.doubts li")];
const columns = ["path", "labels", "split", "start_s", "end_s", "source", "clip", "old_labels"];

function chosen(item) {
  const input = item.querySelector("input:checked");
  if (!input) return null;
  if (input.value !== "other") return input.dataset.new.split("|");
  const other = item.querySelector("select").value;
  const old = item.dataset.old.split("|");
  return [...new Set(old.map((name) => (name === item.dataset.label ? other : name)))];
}

function corrections() {
  const clips = new Map();
  for (const item of items) {
    const labels = chosen(item);
    if (!labels) continue;
    const key = item.dataset.clip, old = item.dataset.old.split("|");
    const clip = clips.get(key) ?? { item, old, labels: new Set(old) };
    for (const name of old) if (!labels.includes(name)) clip.labels.delete(name);
    for (const name of labels) if (!old.includes(name)) clip.labels.add(name);
    clips.set(key, clip);
  }
  return [...clips.values()].filter(
    ({ old, labels }) => labels.size && [...labels].sort().join("|") !== [...old].sort().join("|"),
  );
}

function cell(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table() {
  const rows = corrections().map(({ item, old, labels }) => [
    item.dataset.path, [...labels].join("|"), item.dataset.split, item.dataset.start,
    item.dataset.end, item.dataset.source, item.dataset.clip, old.join("|"),
  ]);
  return [columns, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function update() {
  document.getElementById("num-decided").textContent = items.filter(chosen).length;
  document.getElementById("num-corrected").textContent = corrections().length;
  document.getElementById("table").value = table();
  const changed = new Set(corrections().map(({ item }) => item.dataset.clip));
  for (const item of items) item.classList.toggle("corrected", changed.has(item.dataset.clip));
}

for (const item of items) {
  item.addEventListener("change", (event) => {
    if (event.target.tagName === "SELECT") item.querySelector("input[value=other]").checked = true;
    update();
  });
}
if (items.length) {
  document.getElementById("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  document.getElementById("copy").addEventListener("click", async (event) => {
    const button = event.target, field = document.getElementById("table");
    try {
      await navigator.clipboard.writeText(field.value);
    } catch { // a page opened from the disk may not be allowed to
      field.closest("details").open = true;
      field.select();
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy corrections"), 1500);
  });
  update();
}
