// What a browser with JavaScript gets on top: nothing here is needed to sign in.
"use strict";
const all = (selector, act) => document.querySelectorAll(selector).forEach(act);
const say = (id, words) => { document.getElementById(id).textContent = words; };

all("[data-show]", (button) => {
  const id = button.dataset.show, field = document.getElementById(id);
  const show = (visible) => {
    field.type = visible ? "text" : "password";
    button.textContent = visible ? "Hide" : "Show";
    button.setAttribute("aria-label", visible ? "Hide password" : "Show password");
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const visible = field.type === "password";
    show(visible);
    say(id + "-status", visible ? "Your password is visible" : "Your password is hidden");
  });
  field.form.addEventListener("submit", () => show(false));
});

all("[data-copy]", (button) => {
  const id = button.dataset.copy, source = document.getElementById(id);
  button.hidden = false;
  button.addEventListener("click", () => {
    const text = source.textContent.replaceAll(" ", "");
    const failed = () => {
      source.closest("details")?.setAttribute("open", "");
      getSelection().selectAllChildren(source);
      say(id + "-status", "Couldn't copy. Select it and copy it yourself.");
    };
    if (!navigator.clipboard) return failed();
    navigator.clipboard.writeText(text).then(() => say(id + "-status", "Copied"), failed);
  });
});

all("[data-print]", (button) => {
  button.hidden = false;
  button.addEventListener("click", () => print());
});

// A second click on a form that is on its way would arrive after the first has changed the session.
all("form", (form) => {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    setTimeout(() => { sent = false; }, 3000);
  });
  if (!("unsaved" in form.dataset)) return;
  addEventListener("beforeunload", (event) => { if (!sent) event.preventDefault(); });
});

all("[data-countdown]", (span) => {
  const end = Date.now() + span.dataset.countdown * 1000;
  const timer = setInterval(() => {
    const left = Math.max(0, Math.round((end - Date.now()) / 1000));
    span.textContent = left >= 60 ? Math.floor(left / 60) + " min " + (left % 60) + " s" : left + (left === 1 ? " second" : " seconds");
    if (left > 0) return;
    clearInterval(timer);
    say("countdown-status", "You can try again now.");
  }, 1000);
});

// A security key: asked when its button is pressed and never before. What it answers goes along in the form as text.
const SAID = { NotAllowedError: "notAllowed", InvalidStateError: "knownAlready", SecurityError: "wrongAddress" };
const in64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] || "");

const asText = (key) => {
  try {
    return JSON.stringify(key.toJSON());
  } catch { // a password manager stands in for the browser, and its answer does not know how
    const response = { transports: key.response.getTransports?.() };
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature"]) {
      if (key.response[part]) response[part] = in64(key.response[part]);
    }
    return JSON.stringify({ id: key.id, rawId: in64(key.rawId), type: key.type, response, clientExtensionResults: {} });
  }
};

all("[data-key]", (button) => {
  const { form, dataset } = button, parse = dataset.key === "create" ? "parseCreationOptionsFromJSON" : "parseRequestOptionsFromJSON";
  if (!window.PublicKeyCredential?.[parse]) return;
  all("[data-no-keys]", (words) => { words.hidden = true; });
  form.hidden = button.hidden = false;
  let asking = false;
  button.addEventListener("click", async (event) => {
    // Where a code was typed or something is missing, the form goes as it is: nobody is to look for a key in vain.
    if (document.activeElement === form.elements.code || !form.checkValidity()) return;
    event.preventDefault();
    if (asking) return;
    asking = true;
    say("key-status", "");
    try {
      const publicKey = PublicKeyCredential[parse](JSON.parse(dataset.options));
      form.elements.answer.value = asText(await navigator.credentials[dataset.key]({ publicKey }));
      form.requestSubmit();
    } catch (error) {
      say("key-status", dataset[SAID[error.name]] || dataset.failed);
    }
    asking = false;
  });
});
