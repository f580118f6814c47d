// Has the provider's script show its task, and sends what comes of it. Where that does not work, the gate's own challenge
// is asked for.
(function () {
  "use strict";
  var form = document.getElementById("challenge");
  var status = document.getElementById("status");
  var other = document.getElementById("other");
  var instead = document.getElementById("instead");
  var get = function (name) { return form.getAttribute("data-" + name); };
  var isOver = false;

  function take(token) {
    if (isOver) return;
    isOver = true;
    status.textContent = status.getAttribute("data-done");
    form.elements.token.value = token;
    HTMLFormElement.prototype.submit.call(form);
  }
  function fail() {
    if (isOver) return;
    isOver = true;
    status.textContent = status.getAttribute("data-failed");
    if (instead) instead.click();
  }

  // A script that neither loads nor fails is one that does not come.
  var late = setTimeout(fail, 10000);
  window.testudoReady = function () {
    clearTimeout(late);
    if (isOver) return;
    status.textContent = "";
    try {
      var provider = window[get("object")], key = get("key");
      if (get("service") === "recaptcha-v3") {
        late = setTimeout(fail, 10000);
        provider.execute(key, { action: get("action") }).then(take, fail);
      } else {
        provider.render("widget", { sitekey: key, callback: take, "error-callback": fail });
      }
    } catch (error) {
      fail();
    }
  };
  window.addEventListener("pageshow", function (event) { if (event.persisted) location.reload(); });
  status.textContent = status.getAttribute("data-working");
  if (other) other.open = false;
  var script = document.createElement("script");
  script.src = get("script");
  script.async = true;
  script.onerror = fail;
  document.head.appendChild(script);
})();
