// Live updates. They refine pages that work without them: rows and the decision panel are replaced in place by
// the same HTML that the page was made of; what is new waits behind a pill, so that no row moves under a pointer.
"use strict";

const news = document.getElementById("news");
const pill = document.getElementById("pill");
const fresh = new Set();

function say(text) {
  news.textContent = text;
}

function span(seconds) {
  const two = (big, unit, small, smallUnit) => (small === 0 ? `${big} ${unit}` : `${big} ${unit} ${small} ${smallUnit}`);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return two(Math.floor(seconds / 3600), "h", Math.floor((seconds % 3600) / 60), "min");
  return two(Math.floor(seconds / 86400), "d", Math.floor((seconds % 86400) / 3600), "h");
}

function tick() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = time.querySelector("[data-relative]");
    const seconds = Math.floor(Date.parse(time.dateTime) / 1000) - Math.floor(Date.now() / 1000);
    const away = Math.abs(seconds);
    const text = away < 5 ? "now" : seconds > 0 ? `in ${span(away)}` : `${span(away)} ago`;
    if (words && words.textContent !== text) words.textContent = text;
  }
}

async function part(path) {
  const answer = await fetch(path, { headers: { Accept: "text/html" } });
  if (answer.status === 401) {
    location.reload();
    return null;
  }
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("[data-revision]");
}

async function refreshRow(row) {
  const next = await part(`/calls/${row.dataset.call}/row`);
  if (!next || !row.isConnected || next.dataset.revision === row.dataset.revision) return;
  const focused = row.contains(document.activeElement);
  next.classList.add("changed");
  row.replaceWith(next);
  if (focused) next.querySelector("a").focus();
  const state = next.querySelector(".when .chip");
  if (state) say(`${next.querySelector(".title").textContent}: ${state.textContent}`);
  tick();
}

async function refreshPanel(panel) {
  const next = await part(`/calls/${panel.dataset.call}/panel`);
  if (!next || !panel.isConnected || next.dataset.revision === panel.dataset.revision) return;
  // Another text would be decided than the one that stands beside the form.
  if (next.dataset.digest !== panel.dataset.digest) {
    location.reload();
    return;
  }
  const old = panel.querySelector("textarea");
  const typing = next.querySelector("textarea");
  const held = panel.contains(document.activeElement);
  if (old && typing) typing.value = old.value;
  panel.replaceWith(next);
  if (held) {
    const target = typing && old === document.activeElement ? typing : next.querySelector("textarea, a, button");
    if (target) target.focus({ preventScroll: true });
  }
  const fate = document.getElementById("fate");
  if (fate && !next.querySelector(".decide")) fate.textContent = next.querySelector(".chip").textContent;
  if (next.dataset.version !== panel.dataset.version) say(next.innerText.split("\n").filter(Boolean).slice(0, 2).join(". "));
  tick();
}

function announce(id) {
  if (!pill || document.querySelector("[data-list]").dataset.list !== "needs") return;
  fresh.add(id);
  pill.textContent = `${fresh.size} new`;
  pill.hidden = false;
  document.title = `(${fresh.size}) ${document.title.replace(/^\(\d+\) /, "")}`;
  say(`${fresh.size} new`);
}

function gone(id) {
  if (!fresh.delete(id)) return;
  pill.textContent = `${fresh.size} new`;
  pill.hidden = fresh.size === 0;
  document.title = document.title.replace(/^\(\d+\) /, fresh.size ? `(${fresh.size}) ` : "");
}

function look(id, held) {
  const seen = document.querySelector(`.row[data-call="${id}"]`);
  const panel = document.querySelector(`#panel[data-call="${id}"]`);
  if (seen) refreshRow(seen).catch(() => {});
  else if (held) announce(id);
  else gone(id);
  if (panel) refreshPanel(panel).catch(() => {});
}

async function lookAtEverything() {
  const panel = document.getElementById("panel");
  if (panel) await refreshPanel(panel);
  for (const row of document.querySelectorAll(".row")) await refreshRow(row);
  if (pill && document.querySelector("[data-list]").dataset.list === "needs") {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    for (const row of page.querySelectorAll(".row")) {
      if (!document.querySelector(`.row[data-call="${row.dataset.call}"]`)) announce(row.dataset.call);
    }
  }
}

function listen() {
  const stream = new EventSource("/live");
  const about = (held) => (event) => look(JSON.parse(event.data).id, held);
  stream.addEventListener("call.held", about(true));
  stream.addEventListener("call.changed", about(false));
  stream.addEventListener("look", () => lookAtEverything().catch(() => {}));
  // A refused stream (too many pages, a restart) is not retried by the browser.
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
  });
  addEventListener("pagehide", () => stream.close());
}

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
tick();
setInterval(tick, 10000);
listen();
