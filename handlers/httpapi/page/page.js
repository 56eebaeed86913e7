// The token is in the fragment of the address, which no browser sends. This sends
// it in a header, and shows the page that comes back. The server renders it all.
"use strict";
(() => {
  const token = () => decodeURIComponent(location.hash.slice(1));
  let asked = 0;
  const show = async (body, focus) => {
    const mine = ++asked;
    const main = document.querySelector("main");
    main.setAttribute("aria-busy", "true");
    let page;
    try {
      const answer = await fetch(location.pathname, {
        method: "POST",
        headers: { Authorization: "Bearer " + token(), "Content-Type": "application/x-www-form-urlencoded" },
        body, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      });
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      page = null;
    }
    if (mine !== asked) { return; } // a later one is under way, or was shown
    main.removeAttribute("aria-busy");
    const next = page && page.querySelector("main");
    if (!next) {
      const note = document.createElement("p");
      note.className = "notice";
      note.setAttribute("role", "alert");
      note.textContent = "The passport can't be read now. Take nothing as allowed, and try again.";
      const again = document.createElement("button");
      again.textContent = "Try again";
      again.addEventListener("click", () => show("", false));
      main.replaceChildren(note, again);
      return;
    }
    document.title = page.title;
    main.replaceWith(document.adoptNode(next));
    if (focus) {
      const result = document.getElementById("result");
      if (result) { result.focus(); }
    }
  };
  document.addEventListener("submit", (event) => {
    if (event.target.id === "open") {
      event.preventDefault();
      const was = location.hash;
      location.hash = new FormData(event.target).get("token").trim().replace(/^.*#/, "");
      if (location.hash === was) { open(); } // the browser tells only of one that changed
    } else if (event.target.id === "preview" && location.hash.length > 1) {
      event.preventDefault();
      show(new URLSearchParams(new FormData(event.target)), true);
    }
  });
  const open = () => { if (location.hash.length > 1) { show("", false); } };
  addEventListener("hashchange", open);
  open();
})();
