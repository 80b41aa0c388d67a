// A token in the fragment, which browsers do not send, signs in at once and leaves the address bar.

const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("token").value = token;
  document.getElementById("door").submit();
}
