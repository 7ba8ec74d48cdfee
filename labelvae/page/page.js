// What is shown of the controls, the sheet to draw on, pictures pasted from the clipboard, and what screen readers need;
// run once the page is there, with the values of its controls.
(...first) => {
  const FIRST_MOVED = 4;  // as in blocks.py
  const STAYS = { __type__: "update" };  // a control that is left alone
  const PATIENCE = 60_000;
  const visit = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  let shown = null;  // the image that the controls belong to
  let newest = 0;
  let turn = Promise.resolve();

  const refused = (text) => Object.assign(document.createElement("p"), { className: "refused", textContent: text }).outerHTML;
  const ask = async (of, values) => {
    const stay = values.slice(FIRST_MOVED).map(() => STAYS);
    try {
      const answer = await fetch("show", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ visit, shown: of, values }),
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (!answer.ok) return [...stay, refused(await answer.text()), ""];
      const { key, controls, said, html } = await answer.json();
      const moved = key === shown ? stay : controls.map((value) => value ?? STAYS);
      shown = key;
      return [...moved, said, html];
    } catch {
      return [...stay, refused("The page does not answer. Is its command still running?"), ""];
    }
  };
  // One question at a time. Of those that come meanwhile only the last is asked, so the end is what is selected.
  const show = (...values) => {
    const [number, of] = [++newest, shown];
    turn = turn.then(() => (number === newest ? ask(of, values) : [...values.slice(FIRST_MOVED), 0, 0].map(() => STAYS)));
    return turn;
  };
  window.labelvae = { visit, show };

  const canvas = document.querySelector("#sheet canvas");
  const pen = canvas?.getContext("2d");  // the page of several attributes has no sheet
  let last = null;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  const draw = (event) => {
    if (last === null) return;
    const here = place(event);
    pen.lineWidth = 20;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...here);
    pen.stroke();
    last = here;
  };
  canvas?.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    draw(event);
  });
  canvas?.addEventListener("pointermove", (event) => (event.getCoalescedEvents?.() ?? [event]).concat(event).forEach(draw));
  for (const name of ["pointerup", "pointercancel"]) canvas?.addEventListener(name, () => (last = null));

  const field = () => document.querySelector("#upload input[type=file]");
  const give = (files) => {
    field().files = files;
    field().dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("paste", (event) => {
    const pasted = new DataTransfer();  // the clipboard's own is empty after the event
    for (const file of event.clipboardData?.files ?? []) pasted.items.add(file);
    const full = field() ? null : document.querySelector("#upload button");  // clears it; there is no field then
    if (!pasted.files.length || !(field() || full)) return;
    [...document.querySelectorAll("#source input")].at(-1).click();
    if (field()) return give(pasted.files);
    new MutationObserver((_, observer) => {
      if (!field()) return;
      observer.disconnect();
      give(pasted.files);
    }).observe(document.querySelector("#upload"), { childList: true, subtree: true });
    full.click();
  });

  // One stop of the tab key for each group and slider; the arrow keys move within.
  document.documentElement.lang = "en";
  document.querySelector("#said")?.setAttribute("role", "status");
  for (const group of document.querySelectorAll("fieldset")) {
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", group.querySelector("[data-testid=block-info]").textContent);
    const join = () => {  // Gradio gives each choice a name of its own, again and again, which makes each a stop
      for (const choice of group.querySelectorAll("input[type=radio]")) if (choice.name !== group.id) choice.name = group.id;
    };
    new MutationObserver(join).observe(group, { subtree: true, attributes: true, attributeFilter: ["name"] });
    join();
  }
  for (const number of document.querySelectorAll("#more input[type=number]")) number.tabIndex = -1;
  return show(...first);
}
