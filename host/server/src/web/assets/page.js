// New questions appear by themselves, and those that are answered go. Whatever is being typed stays as it is.
// Without this file the page does the same when it is loaded again.
"use strict";
(() => {
  const EVERY = 2000, LONGEST = 30000, UNITS = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const list = document.getElementById("pending"), news = document.getElementById("news");
  let pause = EVERY, timer = 0, moved = -Infinity;

  const say = (text) => {
    news.textContent = text;
    news.hidden = text === "";
  };

  // In the words that the server uses.
  const away = (then, now) => {
    const seconds = Math.floor(Math.abs(then - now) / 1000);
    const [length, unit] = UNITS.find(([length]) => seconds >= 2 * length) || [1, "second"];
    const count = Math.floor((seconds + Math.floor(length / 2)) / length), words = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return then > now ? `in ${words}` : `${words} ago`;
  };

  const tellTimes = () => {
    for (const time of list.querySelectorAll("time")) {
      time.nextElementSibling.textContent = away(Date.parse(time.dateTime), Date.now());
    }
  };

  const inUse = (card) => card.contains(document.activeElement) || (card.querySelector("textarea") || {}).value;

  const remove = (card) => {
    if (!inUse(card)) return card.remove();
    if (card.classList.contains("gone")) return;
    card.classList.add("gone");
    for (const button of card.querySelectorAll("button")) button.disabled = true;
    const note = document.createElement("p");
    note.className = "problem";
    note.textContent = "This is not open any more: somebody has decided, or the time is over. What you typed stays here until you leave.";
    card.querySelector("form").prepend(note);
  };

  // The form of a card that changes stays: its digest is that of what was read first, so a decision on something else is refused.
  const update = (card, fresh) => {
    const what = card.querySelector(".what");
    if (!what || what.contains(document.activeElement)) return;
    what.replaceWith(document.importNode(fresh.querySelector(".what"), true));
    card.dataset.version = fresh.dataset.version;
  };

  const insert = (fresh, before) => {
    const card = list.insertBefore(document.importNode(fresh, true), before);
    card.classList.add("new");
    return card;
  };

  // What one is reading or about to click stays where it is on the screen.
  const inPlace = (change) => {
    const old = [...list.children].filter((it) => it.matches(".card"));
    const held = old.find((it) => it.getBoundingClientRect().bottom > 0);
    const top = held && held.getBoundingClientRect().top;
    change();
    if (!held || !held.isConnected) return;
    window.scrollBy(0, held.getBoundingClientRect().top - top);
    if (Math.abs(held.getBoundingClientRect().top - top) > 1) moved = performance.now();
  };

  const merge = (fresh) => {
    const known = new Map([...list.children].map((it) => [it.id, it]));
    let before = null, added = 0;
    for (const item of [...fresh.children].reverse()) {
      const old = known.get(item.id);
      known.delete(item.id);
      if (!old) added += item.matches(".card") ? 1 : 0;
      else if (old.dataset.version !== item.dataset.version && item.matches(".card")) update(old, item);
      before = old || insert(item, before);
    }
    for (const old of known.values()) remove(old);
    for (const token of document.getElementsByName("token")) token.value = fresh.dataset.token;
    list.dataset.version = fresh.dataset.version;
    if (added) say(added === 1 ? "One new question." : `${added} new questions.`);
  };

  const look = async () => {
    const headers = { "If-None-Match": `"${list.dataset.version}"` };
    const answer = await fetch(list.dataset.from, { headers, cache: "no-store", credentials: "same-origin", redirect: "error" });
    if (answer.status === 401) {
      say("You are not logged in any more. Load this page again to log in.");
      return false;
    }
    if (answer.status !== 304) {
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      inPlace(() => merge(page.getElementById("pending")));
    }
    if (pause !== EVERY) say("");
    pause = EVERY;
    return true;
  };

  const turn = async () => {
    clearTimeout(timer);
    timer = 0;
    if (document.hidden) return;
    try {
      if (!await look()) return;
    } catch {
      say("The server does not answer. What stands here may be old.");
      pause = Math.min(2 * pause, LONGEST);
    }
    tellTimes();
    timer = setTimeout(turn, pause);
  };

  // A click that was meant for what stood there a moment ago decides nothing.
  list.addEventListener("submit", (event) => {
    if (performance.now() - moved < 600) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && timer === 0) turn();
  });
  tellTimes();
  timer = setTimeout(turn, pause);
})();
