# Testudo's gate for Varnish. Put it in front of what your VCL does: `include "testudo-gate.vcl";` after `vcl 4.1;` and your
# own backends. In your `vcl_recv`, set the backend that is meant, even if there is only one: the gate's would stay otherwise.
#     set req.backend_hint = site;
import std;

backend testudo_gate {
    .host = "@HOST@";
    .port = "@PORT@";
    .connect_timeout = 200ms;
}

sub vcl_recv {
    # Answers to challenges.
    if (req.url ~ "^/\.well-known/testudo/") {
        set req.backend_hint = testudo_gate;
        return (pass);
    }
    # The question comes first, then the request once more. Its body is kept in between: a larger one is refused.
    if (req.restarts == 0) {
        unset req.http.X-Testudo-Outcome;
        # Where the policy knows users by this header: set it here to who it is.
        unset req.http.X-Remote-User;
        if (!std.cache_req_body(1MB)) {
            return (synth(413));
        }
        set req.http.X-Original-URI = req.url;
        set req.http.X-Original-Method = req.method;
        set req.backend_hint = testudo_gate;
        return (pass);
    }
    unset req.http.X-Original-URI;
    unset req.http.X-Original-Method;
}

sub vcl_backend_fetch {
    if (bereq.backend == testudo_gate && bereq.http.X-Original-URI) {
        set bereq.url = "/gate";
    }
}

sub vcl_backend_error {
    # Where the gate cannot be reached, requests pass. Without this part they are answered with 503.
    if (bereq.backend == testudo_gate && bereq.http.X-Original-URI) {
        set beresp.status = 200;
        set beresp.http.X-Testudo-Outcome = "unchecked";
        return (deliver);
    }
}

sub vcl_deliver {
    if (req.restarts == 0 && req.http.X-Original-URI && resp.status == 200) {
        # What the application is told.
        set req.http.X-Testudo-Outcome = resp.http.X-Testudo-Outcome;
        return (restart);
    }
}
