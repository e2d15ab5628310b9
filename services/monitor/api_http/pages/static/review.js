// One key a decision. The page works without this: every decision is a button in a form. With it, the next answer takes the
// place of the one before, the focus goes to its first line, and what was done is said aloud.
"use strict";
(() => {
  let busy = false;

  const say = (text) => {
    const region = document.getElementById("said");
    if (region) region.textContent = text;
  };
  const focusItem = () => document.getElementById("why")?.focus();

  async function send(form) {
    if (busy) return;
    busy = true;
    document.body.setAttribute("aria-busy", "true");
    try {
      // `form.action` would be the hidden field of that name.
      const answer = await fetch(form.getAttribute("action"), {method: "POST", body: new URLSearchParams(new FormData(form))});
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      if (!answer.ok) {
        say(page.querySelector("h1")?.textContent || "Not saved.");
        return;
      }
      if (!fresh || !answer.url.includes("/review")) { location.assign(answer.url); return; }
      // The live region stays the same element, or a screen reader would not read it.
      const said = fresh.querySelector("#said");
      const text = said ? said.textContent : "";
      const kept = document.getElementById("said");
      const main = document.getElementById("main");
      if (kept && said) {
        said.remove();
        [...main.children].forEach((child) => child !== kept && child.remove());
        main.append(...fresh.children);
        kept.textContent = text;
      } else {
        main.replaceChildren(...fresh.children);
      }
      focusItem();
    } catch (problem) {
      say("Not saved: monitor could not be reached. Press the key again.");
    } finally {
      busy = false;
      document.body.removeAttribute("aria-busy");
    }
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.closest(".review-keys")) return;
    event.preventDefault();
    send(event.target);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const inField = event.target.closest("input, textarea, select");
    if (inField) {
      if (event.key === "Escape") focusItem();
      return;
    }
    const key = event.key.toLowerCase();
    if (key === "v") {
      const field = document.getElementById("value");
      if (field) { event.preventDefault(); field.focus(); }
      return;
    }
    const button = document.querySelector(`button[data-key="${CSS.escape(key)}"]`);
    if (button) { event.preventDefault(); button.form.requestSubmit(button); }
  });

  focusItem();
})();
