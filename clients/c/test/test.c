/*
 * The C client: what all clients share (`vectors` prints it as tables into vectors.inc), a real gate, and something that only
 * pretends to be one. Where they listen stands in TESTUDO_GATE, TESTUDO_GATE_SOCKET and TESTUDO_STAND_IN; tests/clients/run
 * starts them.
 */
#define TESTUDO_GATE_IMPLEMENTATION
#include "testudo_gate.h"

struct address_case {
    const char *name, *peer;
    const char *proxies[8];
    size_t proxy_count;
    const char *lines[4];
    size_t line_count;
    const char *client;
};

struct check_case {
    const char *name;
    int status;
    const char *body;
    bool names_user, is_failure, passes;
    const char *action, *outcome;
    bool has_decision;
    int64_t id, seconds;
    const char *type, *origin, *scenario;
    size_t decisions;
};

struct target_case {
    size_t length;
    const char *length_text;
    bool is_sent;
};

#include "vectors.inc"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static int failures, tests;

static void expect(bool holds, const char *what, const char *which) {
    tests++;
    if (holds) return;
    failures++;
    fprintf(stderr, "FAILED: %s: %s\n", what, which);
}

static void expect_text(const char *found, const char *wanted, const char *what, const char *which) {
    bool is_same = strcmp(found, wanted) == 0;
    expect(is_same, what, which);
    if (!is_same) fprintf(stderr, "    `%s` instead of `%s`\n", found, wanted);
}

static void test_addresses(void) {
    char client[TESTUDO_GATE_ADDRESS];
    for (size_t i = 0; i < COUNT(addresses); i++) {
        const struct address_case *at = addresses + i;
        int found = testudo_gate_client(at->proxies, at->proxy_count, at->peer, at->lines, at->line_count, client);
        expect(found == (at->client ? 1 : 0), "address", at->name);
        if (found == 1 && at->client) expect_text(client, at->client, "address", at->name);
    }
    for (size_t i = 0; i < COUNT(bad_proxies); i++) {
        expect(testudo_gate_client(&bad_proxies[i], 1, "192.0.2.1", NULL, 0, client) == -1, "a proxy that is none", bad_proxies[i]);
    }
}

static void test_checks(void) {
    struct testudo_gate_verdict verdict;
    for (size_t i = 0; i < COUNT(checks); i++) {
        const struct check_case *at = checks + i;
        /* A copy of its own, so that sanitizers see what is read behind it. */
        size_t length = strlen(at->body);
        unsigned char *body = malloc(length + 1);
        if (!body) abort();
        memcpy(body, at->body, length);
        body = realloc(body, length ? length : 1);
        bool is_read = tg_read_check(at->status, body, length, at->names_user, &verdict);
        free(body);
        expect(is_read != at->is_failure, "check", at->name);
        if (!is_read || at->is_failure) continue;
        expect(verdict.passes == at->passes && verdict.decisions == at->decisions, "check", at->name);
        expect_text(testudo_gate_action_name(verdict.action), at->action, "action", at->name);
        expect_text(verdict.outcome, at->outcome, "outcome", at->name);
        expect(verdict.has_decision == at->has_decision, "decision", at->name);
        if (!at->has_decision) continue;
        expect(verdict.decision.id == at->id && verdict.decision.seconds == at->seconds, "decision", at->name);
        expect_text(verdict.decision.type, at->type, "type", at->name);
        expect_text(verdict.decision.origin, at->origin, "origin", at->name);
        expect_text(verdict.decision.scenario, at->scenario, "scenario", at->name);
    }
}

/* Every beginning of every answer, and every answer with a byte changed: none is read behind its end. */
static void test_damage(void) {
    struct testudo_gate_verdict verdict;
    for (size_t i = 0; i < COUNT(checks); i++) {
        size_t length = strlen(checks[i].body);
        for (size_t cut = 0; cut < length; cut++) {
            unsigned char *body = malloc(cut ? cut : 1);
            if (!body) abort();
            memcpy(body, checks[i].body, cut);
            bool is_read = tg_read_check(200, body, cut, false, &verdict);
            for (const char *left = checks[i].body + cut; is_read && *left; left++) {
                if (!strchr(" \t\r\n", *left)) expect(checks[i].is_failure, "a beginning is read as the whole", checks[i].name);
            }
            for (int bit = 0; cut > 0 && bit < 8; bit++) {
                body[cut - 1] ^= (unsigned char)(1 << bit);
                (void)tg_read_check(200, body, cut, false, &verdict);
                body[cut - 1] ^= (unsigned char)(1 << bit);
            }
            free(body);
        }
    }
}

static void test_texts(void) {
    static const struct { const char *json, *text; } cases[] = {
        {"\"clean\\u0000x\"", NULL},          {"\"\\ud83d\\udc22\"", "\xf0\x9f\x90\xa2"},
        {"\"\\ud83d\"", NULL},                {"\"\\udc22\"", NULL},
        {"\"\\u00e9\\u20AC\"", "\xc3\xa9\xe2\x82\xac"},
        {"\"\xc0\xaf\"", NULL},               {"\"\xed\xa0\x80\"", NULL},
        {"\"\xf4\x90\x80\x80\"", NULL},       {"\"\xe2\x82\"", NULL},
        {"\"\\x\"", NULL},                    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"0123456\xc3\xa9x\"", "0123456"},
    };
    char text[32];
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tg_json json = {(const unsigned char *)cases[i].json, (const unsigned char *)cases[i].json + strlen(cases[i].json)};
        bool is_text = tg_text(&json, text, i + 1 == COUNT(cases) ? 9 : sizeof text);
        expect(is_text == (cases[i].text != NULL), "a text", cases[i].json);
        if (is_text && cases[i].text) expect_text(text, cases[i].text, "a text", cases[i].json);
    }
    unsigned char deep[100000];
    struct tg_json json = {deep, deep + sizeof deep};
    memset(deep, '[', sizeof deep);
    expect(!tg_skip(&json, TESTUDO_GATE_MAX_DEPTH), "a text", "one that is nested too deep");
}

static void test_options(void) {
    char error[128] = "";
    struct testudo_gate_options options = {NULL, TESTUDO_GATE_FAIL_UNSAID, 0, 0, 0};
    expect(!testudo_gate_new(&options, error, sizeof error) && strstr(error, "fail"), "options", "no policy");
    options.fail = TESTUDO_GATE_FAIL_CLOSED;
    for (size_t i = 0; i < COUNT(bad_places); i++) {
        options.place = bad_places[i];
        expect(!testudo_gate_new(&options, NULL, 0), "a place that is none", bad_places[i]);
    }
    options.place = NULL;
    options.timeout_ms = -1;
    expect(!testudo_gate_new(&options, error, sizeof error), "options", "a timeout");
    options.timeout_ms = 0;
    struct testudo_gate *gate = testudo_gate_new(&options, error, sizeof error);
    struct testudo_gate_verdict verdict;
    struct testudo_gate_question question = {"192.0.2", NULL, NULL, NULL, "alice"};
    expect(testudo_gate_check(gate, &question, &verdict) == -1 && !verdict.passes, "check", "what is no address");
    question.address = question.user = NULL;
    expect(testudo_gate_check(gate, &question, &verdict) == -1 && !verdict.passes, "check", "nobody");
    testudo_gate_free(gate);
}

static struct testudo_gate *gate_at(const char *place, enum testudo_gate_fail fail, int timeout_ms, int cache_ms) {
    struct testudo_gate_options options = {place, fail, timeout_ms, cache_ms, 64};
    struct testudo_gate *gate = testudo_gate_new(&options, NULL, 0);
    if (!gate) abort();
    return gate;
}

static struct testudo_gate_verdict ask(struct testudo_gate *gate, const char *address, const char *host, const char *method,
                                       const char *target) {
    struct testudo_gate_question question = {address, host, method, target, NULL};
    struct testudo_gate_verdict verdict;
    expect(testudo_gate_check(gate, &question, &verdict) == 0, "check", address);
    return verdict;
}

static struct testudo_gate_verdict ask_long(struct testudo_gate *gate, size_t length) {
    char *target = malloc(length + 1);
    if (!target) abort();
    memset(target, 'a', length);
    target[0] = '/';
    target[length] = '\0';
    struct testudo_gate_verdict verdict = ask(gate, "192.0.2.9", NULL, NULL, target);
    free(target);
    return verdict;
}

/* Nobody listens: what is sent is a failure, by which everybody passes. */
static void test_what_the_gate_would_not_take(void) {
    struct testudo_gate *gate = gate_at("127.0.0.1:1", TESTUDO_GATE_FAIL_OPEN, 0, 0);
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct testudo_gate_verdict verdict = ask_long(gate, targets[i].length);
        expect(verdict.passes == targets[i].is_sent, "a long target", targets[i].length_text);
        expect_text(verdict.outcome, targets[i].is_sent ? "unchecked" : "refused", "a long target", targets[i].length_text);
    }
    testudo_gate_free(gate);
}

static void test_faults(const char *stand_in) {
    struct testudo_gate *gate = gate_at(stand_in, TESTUDO_GATE_FAIL_CLOSED, 300, -1);
    expect(ask(gate, "192.0.2.1", "ok.fault", NULL, NULL).passes, "the stand-in", "ok");
    testudo_gate_free(gate);
    for (size_t i = 0; i < COUNT(faults); i++) {
        char host[64];
        const char *place = strcmp(faults[i], "refuse") == 0 ? "127.0.0.1:1" : stand_in;
        snprintf(host, sizeof host, "%s.fault", faults[i]);
        for (int is_open = 0; is_open < 2; is_open++) {
            gate = gate_at(place, is_open ? TESTUDO_GATE_FAIL_OPEN : TESTUDO_GATE_FAIL_CLOSED, 300, 0);
            struct testudo_gate_verdict verdict = ask(gate, "192.0.2.1", host, NULL, NULL);
            expect(verdict.passes == is_open && *verdict.failure, is_open ? "open" : "closed", faults[i]);
            expect_text(verdict.outcome, is_open ? "unchecked" : "unavailable", "outcome", faults[i]);
            testudo_gate_free(gate);
        }
    }
}

struct asker {
    pthread_t thread;
    struct testudo_gate *gate;
    char host[64], target[16];
    int rounds;
    int64_t seen;
};

static void *run_asker(void *given) {
    struct asker *asker = given;
    for (int i = 0; i < asker->rounds; i++) {
        struct testudo_gate_question question = {"192.0.2.1", asker->host, NULL, asker->target, NULL};
        struct testudo_gate_verdict verdict;
        (void)testudo_gate_check(asker->gate, &question, &verdict);
        asker->seen = verdict.decision.seconds;
    }
    return NULL;
}

static void run_askers(struct asker *askers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&askers[i].thread, NULL, run_asker, askers + i) != 0) abort();
    }
    for (size_t i = 0; i < count; i++) pthread_join(askers[i].thread, NULL);
}

static void test_cache(const char *stand_in) {
    struct testudo_gate *gate = gate_at(stand_in, TESTUDO_GATE_FAIL_CLOSED, 5000, 60000);
    struct asker askers[16];
    char host[64];
    snprintf(host, sizeof host, "count-c%ld.fault", (long)getpid());
    for (size_t i = 0; i < COUNT(askers); i++) {
        askers[i].gate = gate;
        askers[i].rounds = 2;
        strcpy(askers[i].host, host);
        strcpy(askers[i].target, "/");
    }
    run_askers(askers, COUNT(askers));
    for (size_t i = 0; i < COUNT(askers); i++) expect(askers[i].seen == 1, "one question for many", host);
    expect(ask(gate, "::ffff:192.0.2.1", host, NULL, NULL).decision.seconds == 1, "the same address", host);
    expect(ask(gate, "192.0.2.1", host, NULL, "/x").decision.seconds == 2, "another question", host);
    testudo_gate_free(gate);

    gate = gate_at(stand_in, TESTUDO_GATE_FAIL_CLOSED, 5000, -1);
    expect(ask(gate, "192.0.2.1", host, NULL, NULL).decision.seconds == 3, "nothing is held", host);
    expect(ask(gate, "192.0.2.1", host, NULL, NULL).decision.seconds == 4, "nothing is held", host);
    testudo_gate_free(gate);

    /* A failure is not held: the stand-in counts after a fifth of a second. */
    gate = gate_at(stand_in, TESTUDO_GATE_FAIL_CLOSED, 20, 60000);
    expect(*ask(gate, "192.0.2.2", host, NULL, NULL).failure, "a failure", host);
    gate->timeout_ms = 5000;
    expect(!*ask(gate, "192.0.2.2", host, NULL, NULL).failure, "a failure is not held", host);
    testudo_gate_free(gate);

    /* Few places for many questions, of which some fail: nobody waits for ever, and threads may take each other's places. */
    struct testudo_gate_options options = {stand_in, TESTUDO_GATE_FAIL_CLOSED, 2000, 1, 4};
    gate = testudo_gate_new(&options, NULL, 0);
    if (!gate) abort();
    for (size_t i = 0; i < COUNT(askers); i++) {
        askers[i].gate = gate;
        askers[i].rounds = 40;
        strcpy(askers[i].host, i % 4 == 3 ? "error.fault" : "ok.fault");
        snprintf(askers[i].target, sizeof askers[i].target, "/%d", (int)(i / 2));
    }
    run_askers(askers, COUNT(askers));
    testudo_gate_free(gate);
}

static void expect_action(struct testudo_gate *gate, const char *address, const char *method, const char *target, const char *action) {
    struct testudo_gate_verdict verdict = ask(gate, address, NULL, method, target);
    expect_text(testudo_gate_action_name(verdict.action), action, "a real gate", address);
}

static size_t count_held(const struct testudo_gate *gate) {
    size_t count = 0;
    for (size_t i = 0; i < gate->entry_count; i++) count += gate->entries[i].state == TG_HELD;
    return count;
}

static void test_what_is_held(const char *place) {
    struct testudo_gate *gate = gate_at(place, TESTUDO_GATE_FAIL_CLOSED, 0, 60000);
    struct testudo_gate_question question = {"192.0.2.9", NULL, NULL, NULL, "\001"};
    struct testudo_gate_verdict verdict;
    expect(testudo_gate_check(gate, &question, &verdict) == 0, "check", "what is no user");
    expect_text(verdict.outcome, "refused", "what is no user", "outcome");
    expect(count_held(gate) == 0, "a refusal is held", "what is no user");
    expect(ask_long(gate, 5000).passes && count_held(gate) == 0, "a long question", "is held");
    expect(ask_long(gate, 4000).passes && count_held(gate) == 1, "a shorter question", "is not held");
    testudo_gate_free(gate);
}

static void test_real_gate(const char *place, const char *socket_path) {
    struct testudo_gate *gate = gate_at(place, TESTUDO_GATE_FAIL_CLOSED, 0, 0);
    expect_action(gate, "192.0.2.9", NULL, NULL, "pass");
    expect_action(gate, "192.0.2.10", NULL, NULL, "ban");
    expect_action(gate, "::ffff:192.0.2.10", NULL, NULL, "ban");
    expect_action(gate, "2001:db8::7", NULL, NULL, "ban");
    expect_action(gate, "192.0.2.11", NULL, NULL, "captcha");
    expect_action(gate, "192.0.2.13", "POST", NULL, "restrict");
    expect_action(gate, "192.0.2.13", NULL, "/a?b=c&d", "pass");
    expect_action(gate, "192.0.2.14", NULL, NULL, "header");
    expect_action(gate, "192.0.2.15", NULL, NULL, "pass");
    expect(!ask(gate, "192.0.2.17", NULL, NULL, NULL).passes, "a real gate", "a second factor");
    struct testudo_gate_verdict verdict;
    for (int has_address = 0; has_address < 2; has_address++) {
        struct testudo_gate_question question = {has_address ? "192.0.2.9" : NULL, NULL, NULL, NULL, "Alice"};
        expect(testudo_gate_check(gate, &question, &verdict) == 0 && verdict.action == TESTUDO_GATE_BAN, "a real gate", "a user");
        question.user = "bob";
        expect(testudo_gate_check(gate, &question, &verdict) == 0 && verdict.passes, "a real gate", "another user");
    }
    verdict = ask(gate, "192.0.2.10", NULL, NULL, NULL);
    expect_text(verdict.decision.scenario, "example/probing", "a real gate", "why");
    for (size_t i = 0; i < COUNT(targets); i++) {
        expect(ask_long(gate, targets[i].length).passes == targets[i].is_sent, "a real gate", targets[i].length_text);
    }
    testudo_gate_free(gate);
    gate = gate_at(socket_path, TESTUDO_GATE_FAIL_CLOSED, 0, 0);
    expect_action(gate, "192.0.2.10", NULL, NULL, "ban");
    testudo_gate_free(gate);
}

int main(void) {
    const char *stand_in = getenv("TESTUDO_STAND_IN"), *gate = getenv("TESTUDO_GATE"), *path = getenv("TESTUDO_GATE_SOCKET");
    test_addresses();
    test_checks();
    test_damage();
    test_texts();
    test_options();
    test_what_the_gate_would_not_take();
    if (stand_in) {
        test_faults(stand_in);
        test_cache(stand_in);
    } else {
        puts("skipped: no TESTUDO_STAND_IN");
    }
    if (gate && path) {
        test_real_gate(gate, path);
        test_what_is_held(gate);
    } else {
        puts("skipped: no TESTUDO_GATE");
    }
    printf("%d expectations, %d failed\n", tests, failures);
    return failures ? 1 : 0;
}
