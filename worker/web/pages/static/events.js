// New events on top, as they come; without this script the page is whole, and is reloaded for newer ones.
"use strict";

const table = document.getElementById("events");
const body = table.tBodies[0];
const live = document.getElementById("live");
const MOST = 200;

function cell(name, text) {
  const made = document.createElement(name);
  made.textContent = text; // never as markup: some of it was written by others
  return made;
}

function row(event) {
  const made = document.createElement("tr");
  const at = document.createElement("td");
  const time = cell("time", event.at.replace("T", " "));
  time.dateTime = event.at;
  at.append(time);
  const what = cell("th", event.type);
  what.scope = "row";
  const ref = document.createElement("td");
  if (event.href && event.ref !== "-") {
    const link = cell("a", event.ref);
    link.href = event.href;
    ref.append(link);
  } else {
    ref.textContent = event.ref;
  }
  const generation = cell("td", event.generation);
  generation.className = "n";
  made.append(at, what, cell("td", event.client), ref, generation, cell("td", event.reason), cell("td", event.data), cell("td", event.actor));
  return made;
}

const source = new EventSource("/events/stream?after=" + table.dataset.last);
source.onopen = () => { live.textContent = "Live: new ones appear on top."; };
source.onerror = () => { live.textContent = "Not connected; reload for newer ones."; };
source.onmessage = (message) => {
  body.prepend(row(JSON.parse(message.data)));
  while (body.rows.length > MOST) body.deleteRow(-1);
};
