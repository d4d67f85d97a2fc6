// Live updates. They refine pages that work without them: rows and the decision panel are replaced in place by
// the same HTML that the page was made of; what is new waits behind a pill, so that no row moves under a pointer.
"use strict";

const news = document.getElementById("news");
const pill = document.getElementById("pill");
const fresh = new Set();
// Countdowns run on the server's clock, whatever this machine's shows.
const ahead = Date.parse(document.documentElement.dataset.now) - Date.now() || 0;
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function serverTime() {
  return Date.now() + ahead;
}

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

function exactly(seconds) {
  return seconds < 60 || seconds >= 3600 ? span(seconds) : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function absolute(at, exact) {
  const two = (number) => String(number).padStart(2, "0");
  const minutes = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  return exact ? `${minutes}:${two(at.getUTCSeconds())} UTC` : `${at.getUTCDate()} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()}, ${minutes} UTC`;
}

// What counts from the click moves on while nobody clicks.
function moveOn() {
  for (const time of document.querySelectorAll("time[data-after]")) {
    const at = new Date(serverTime() + time.dataset.after * 1000);
    const text = absolute(at, "exact" in time.dataset);
    time.dateTime = at.toISOString();
    if (time.textContent !== text) time.textContent = text;
  }
}

function tick() {
  moveOn();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = time.querySelector("[data-relative]");
    const seconds = Math.floor(Date.parse(time.dateTime) / 1000) - Math.floor(serverTime() / 1000);
    const away = Math.abs(seconds);
    const counts = "count" in time.dataset;
    const text = away < (counts ? 1 : 5) || (counts && seconds < 0) ? "now" : seconds > 0 ? `in ${(counts ? exactly : span)(away)}` : `${span(away)} ago`;
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

// What was heard of a part of the page, by its path, and when: an answer that was asked for before that is old.
const heardOf = new Map();
const asking = new Set();
let heard = 0;

// Asks once at a time, and again when something was heard meanwhile; so what is put in place last is what is so now.
async function freshest(path, put) {
  heardOf.set(path, ++heard);
  if (asking.has(path)) return;
  asking.add(path);
  try {
    let since;
    do {
      since = heardOf.get(path);
      const next = await part(path);
      if (next && since === heardOf.get(path)) put(next);
    } while (since !== heardOf.get(path));
  } finally {
    asking.delete(path);
  }
}

function rowPath(id) {
  return `/calls/${id}/row`;
}

function refreshRow(id) {
  return freshest(rowPath(id), (next) => {
    const row = document.querySelector(`.row[data-call="${id}"]`);
    if (row) replaceRow(row, next);
  });
}

function replaceRow(row, next) {
  if (!row.isConnected || next.dataset.revision === row.dataset.revision) return;
  const focused = row.contains(document.activeElement);
  next.classList.add("changed");
  row.replaceWith(next);
  if (focused) next.querySelector("a").focus();
  const state = next.querySelector(".when .chip");
  const before = row.querySelector(".when .chip");
  if (state && state.textContent !== before?.textContent) say(`${next.querySelector(".title").textContent}: ${state.textContent}`);
  if (state?.textContent !== before?.textContent) countSoon();
  tick();
}

// By which a control of a panel is found again in its successor.
function called(control) {
  return [control.tagName, control.id, control.name, control.tagName === "BUTTON" ? control.value : "", control.getAttribute("href"), control.tagName === "SUMMARY" ? control.textContent : ""].join("|");
}

function refreshPanel(panel) {
  return freshest(`/calls/${panel.dataset.call}/panel`, (next) => {
    const panel = document.getElementById("panel");
    if (panel) replacePanel(panel, next);
  });
}

function replacePanel(panel, next) {
  if (next.dataset.revision === panel.dataset.revision) return;
  // Another text would be decided than the one that stands beside the form.
  if (next.dataset.digest !== panel.dataset.digest) {
    location.reload();
    return;
  }
  const old = panel.querySelector("textarea");
  const typing = next.querySelector("textarea");
  const held = panel.contains(document.activeElement);
  const caret = old && old === document.activeElement ? [old.selectionStart, old.selectionEnd] : null;
  const at = document.activeElement;
  if (old && typing && old.name === typing.name) typing.value = old.value;
  panel.replaceWith(next);
  if (held) {
    const same = caret && typing ? typing : [...next.querySelectorAll("textarea, a, button, input, summary")].find((one) => called(one) === called(at));
    const target = same || next.querySelector("textarea, a, button");
    if (target) target.focus({ preventScroll: true });
    if (caret && target === typing) typing.setSelectionRange(...caret);
  }
  const fate = document.getElementById("fate");
  if (fate && !next.querySelector(".decide")) fate.textContent = next.querySelector(".chip").textContent;
  const agent = next.querySelector(".agent-is");
  if (next.dataset.version !== panel.dataset.version) say(next.innerText.split("\n").filter(Boolean).slice(0, 2).join(". "));
  else if (agent && agent.textContent !== panel.querySelector(".agent-is")?.textContent) say(agent.textContent);
  tick();
}

// Where the list goes on behind this page, what is new stands at its end: loading this page would not show it.
function goesOn() {
  return document.querySelector(".more [rel=next]") !== null;
}

function showFresh() {
  pill.textContent = `${fresh.size} new`;
  // On a later page too, they stand at the end of this one.
  pill.href = location.href;
  pill.hidden = fresh.size === 0 || goesOn();
  document.title = `${fresh.size ? `(${fresh.size}) ` : ""}${document.title.replace(/^\(\d+\) /, "")}`;
}

function announce(id) {
  if (!pill || document.querySelector("[data-list]").dataset.list !== "needs") return;
  fresh.add(id);
  showFresh();
  say(goesOn() ? `${fresh.size} new, at the end of the list` : pill.textContent);
}

function gone(id) {
  if (fresh.delete(id)) showFresh();
}

function showTabs(page) {
  const tabs = document.querySelector(".tabs");
  const counted = page.querySelector(".tabs");
  if (tabs && counted && !tabs.contains(document.activeElement) && tabs.textContent !== counted.textContent) tabs.replaceWith(counted);
}

let counting = false;
let listToo = false;

// The numbers on the tabs, a while after something became more or fewer, and the list when something came back to it: a
// busy hour is not a page for every call.
function countSoon(withList = false) {
  listToo ||= withList;
  if (counting || !document.querySelector(".tabs")) return;
  counting = true;
  setTimeout(async () => {
    counting = false;
    if (listToo) {
      listToo = false;
      lookAtList().catch(() => {});
      return;
    }
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (answer?.ok) showTabs(new DOMParser().parseFromString(await answer.text(), "text/html"));
  }, 2000);
}

async function refreshNotices() {
  const old = document.getElementById("notices");
  if (!old) return;
  const answer = await fetch(`/notices?here=${old.dataset.here}`, { headers: { Accept: "text/html" } });
  // The session has ended: what stands here is not for whoever sits here now.
  if (answer.status === 401) location.reload();
  if (!answer.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("notices");
  const words = (notices) => notices.innerText.replace(/\s+/g, " ");
  const kinds = (notices) => [...notices.querySelectorAll("section")].map((notice) => notice.getAttribute("aria-label")).join();
  // Only what is new or gone: a page must not move because a minute has passed.
  if (!next || kinds(next) === kinds(old) || old.contains(document.activeElement)) return;
  old.replaceWith(next);
  say(words(next).trim() || "The notice is gone.");
  tick();
}

// What others take from a limit is no news about this call or page, so it is looked at now and then.
async function lookAtLimits() {
  const panel = document.getElementById("panel");
  if (panel && panel.querySelector(".decide")) await refreshPanel(panel);
  const old = document.getElementById("limits");
  if (!old || document.hidden || old.contains(document.activeElement)) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("limits");
  if (next) old.replaceWith(next);
  tick();
}

function look(id, held, state) {
  const seen = document.querySelector(`.row[data-call="${id}"]`);
  const panel = document.querySelector(`#panel[data-call="${id}"]`);
  if (seen) refreshRow(id).catch(() => {});
  else if (held) announce(id);
  else if (state !== "held") gone(id);
  // Held, not new and not here: somebody took an approval back, or it stands on another page.
  if (held || state !== "held" || !seen) countSoon(!seen && !held && state === "held");
  if (state === "unconfirmed") refreshNotices().catch(() => {});
  if (panel) refreshPanel(panel).catch(() => {});
}

// One page of the list is fetched, and only rows that are no longer on it one by one.
async function lookAtList() {
  const list = document.querySelector("[data-list]");
  if (!list) return;
  const since = heard;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  showTabs(page);
  const rows = new Map([...page.querySelectorAll(".row")].map((row) => [row.dataset.call, row]));
  const shown = [...document.querySelectorAll(".row")];
  for (const row of shown) {
    const next = rows.get(row.dataset.call);
    rows.delete(row.dataset.call);
    // What was heard of it after this page was asked for is newer than the page.
    if (next && (heardOf.get(rowPath(row.dataset.call)) || 0) <= since) replaceRow(row, next);
    else await refreshRow(row.dataset.call);
  }
  if (pill && list.dataset.list === "needs") for (const id of rows.keys()) announce(id);
}

let looking = false;
let lookAgain = false;

// Never twice at once: what happens meanwhile is seen by one more look.
async function lookAtEverything() {
  lookAgain = true;
  if (looking) return;
  looking = true;
  try {
    while (lookAgain) {
      lookAgain = false;
      await refreshNotices();
      const panel = document.getElementById("panel");
      if (panel) await refreshPanel(panel);
      await lookAtList();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  } finally {
    looking = false;
  }
}

function listen() {
  const stream = new EventSource("/live");
  const about = (held) => (event) => {
    const { id, state } = JSON.parse(event.data);
    look(id, held, state);
  };
  stream.addEventListener("call.held", about(true));
  stream.addEventListener("call.changed", about(false));
  stream.addEventListener("look", () => lookAtEverything().catch(() => {}));
  // A refused stream (too many pages, a restart) is not retried by the browser.
  stream.addEventListener("error", () => {
    if (stream.readyState !== EventSource.CLOSED) return;
    refreshNotices().catch(() => {});
    setTimeout(listen, 10000);
  });
  addEventListener("pagehide", () => stream.close());
}

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
tick();
setInterval(tick, 1000);
setInterval(() => lookAtLimits().catch(() => {}), 10000);
listen();
