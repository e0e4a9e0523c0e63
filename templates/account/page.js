// Sends the token of a mailed link, which stands behind the #, with the password that its reader chooses.
const PATHS = { invitation: "auth/invitation/accept", forgotten: "auth/password-reset/confirm" };

const form = document.querySelector("form");
const message = document.querySelector("[role=status]");
const page = location.pathname.split("/").pop();
const token = location.hash.slice(1);
// The token is not left in the history of a browser that others may use.
history.replaceState(null, "", location.pathname);

const say = (text) => { message.textContent = text; };

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (form.password.value !== form.again.value) {
    say("The two passwords differ. 两次输入的密码不一致。");
    return;
  }
  const answer = await fetch(`../api/${PATHS[page]}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token, newPassword: form.password.value }),
  }).catch(() => null);
  if (answer?.ok) {
    form.remove();
    say("Your password is saved. You can sign in now. 密码已保存，现在可以登录。");
    return;
  }
  const problem = await answer?.json().catch(() => null);
  const found = problem?.errors?.[0]?.detail ?? problem?.detail;
  say(`${found ?? "The server cannot be reached."} 未能保存，请重试或请求新的邮件。`);
});
