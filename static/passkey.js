// Passkeys: the form's options go to the browser, its answer comes back in the form, which is then sent as any other.
// Without this script, or where a browser has no passkeys, the form says so and the other ways in remain.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)).buffer;
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function readable(options) {
  const read = { ...options, challenge: bytes(options.challenge) };
  if (read.user) read.user = { ...read.user, id: bytes(read.user.id) };
  for (const list of ["allowCredentials", "excludeCredentials"]) {
    if (read[list]) read[list] = read[list].map((one) => ({ ...one, id: bytes(one.id) }));
  }
  return read;
}

function written(credential) {
  const response = { clientDataJSON: text(credential.response.clientDataJSON) };
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[part]) response[part] = text(credential.response[part]);
  }
  const extensions = credential.getClientExtensionResults();
  return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response, extensions });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const says = form.querySelector("[data-says]");
  const button = form.querySelector("button");
  if (!window.PublicKeyCredential) {
    says.textContent = "This browser has no passkeys. Use another way in.";
    continue;
  }
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    if (form.elements.answer.value) return;
    event.preventDefault();
    button.disabled = true;
    says.textContent = "Waiting for your passkey …";
    try {
      const publicKey = readable(JSON.parse(form.dataset.options));
      const making = form.dataset.passkey === "create";
      const credential = await (making ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
      form.elements.answer.value = written(credential);
      form.requestSubmit();
    } catch (error) {
      // What went wrong is the browser's own secret, so that pages learn nothing about keys (Web Authentication, 14.5).
      says.textContent = error.name === "InvalidStateError" ? "This device has a passkey for you already." : "No passkey was used. Try again, or use another way in.";
      button.disabled = false;
    }
  });
}
