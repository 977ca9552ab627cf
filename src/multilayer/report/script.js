// The page reads as well without this: it sorts tables, and changes between light and dark.
(() => {
  "use strict";
  const root = document.documentElement;
  const theme = document.querySelector("[data-theme-button]");
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  if (theme) {
    theme.hidden = false;
    name();
    theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  }
  const number = (text) => {
    const found = text.replace(/[,\s ]/g, "").match(/^-?\d*\.?\d+(e-?\d+)?/i);
    return found ? parseFloat(found[0]) : NaN;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      if (head.tagName !== "TH" || head.textContent === "shape") return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const rises = head.getAttribute("aria-sort") === "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rises ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const cell = (row) => row.cells[place].textContent;
        const numeric = rows.some((row) => !isNaN(number(cell(row))));
        rows.sort((a, b) => {
          const order = numeric
            ? (number(cell(a)) || -Infinity) - (number(cell(b)) || -Infinity)
            : cell(a).localeCompare(cell(b));
          return rises ? order : -order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
})();
