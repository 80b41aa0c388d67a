// The command line for what is chosen in the form: exact, to be copied to where the key is.

const PLAIN = /^[\w.,:=@%+/-]+$/;

function quoted(word) {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export function watchCommand() {
  const form = document.getElementById("compose");
  form?.addEventListener("input", () => {
    const [opcode, words] = [form.elements.opcode, form.elements.arguments].map((field) => field.value.trim());
    const given = words.match(/[^\s"=]+="[^"]*"|\S+/g) ?? [];
    const parts = [form.dataset.device, ...opcode.split(/\s+/), ...given.map((word) => word.replaceAll('"', ""))];
    const line = `tidegate cmd send ${parts.map(quoted).join(" ")} --key keys/command.jwk`;
    document.getElementById("line").textContent = line;
  });
  form?.addEventListener("submit", (event) => event.preventDefault());
  document.querySelector("[data-copy]")?.addEventListener("click", async (event) => {
    const text = document.getElementById(event.target.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      event.target.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(event.target.dataset.copy)); // to be copied by hand
    }
  });
}
