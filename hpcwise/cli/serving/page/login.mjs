// The token travels once, in a request's body, and is exchanged for a cookie that scripts cannot read.
const form = document.getElementById("login");
const field = document.getElementById("token");
const said = document.getElementById("said");

async function open(token) {
  said.hidden = true;
  try {
    const answer = await fetch("/login", { method: "POST", headers: { "X-Hpcwise": "1" }, body: token });
    if (answer.ok) return location.replace("/");
    said.textContent = (await answer.json()).error;
  } catch {
    said.textContent = "The server does not answer.";
  }
  said.hidden = false;
  field.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  open(field.value.trim());
});
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", "/"); // not in the history, not in a screenshot
  open(given);
}
