/*
 * Asks Testudo's gate what is to be done with an address.
 *
 * C99, POSIX sockets and threads; nothing else is needed. In one source file, before the include:
 *
 *     #define TESTUDO_GATE_IMPLEMENTATION
 *     #include "testudo_gate.h"
 *
 * Compilers that are held to -std=c99 need -D_POSIX_C_SOURCE=200809L as well. Link with -pthread.
 *
 * MIT OR Apache-2.0
 */
#ifndef TESTUDO_GATE_H
#define TESTUDO_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The bytes of an address as text, with the zero at its end. */
#define TESTUDO_GATE_ADDRESS 46

/* What is to be done with a visitor. Its zero is a refusal. */
enum testudo_gate_action {
    TESTUDO_GATE_STOP = 0,    /* It is refused, for a reason that this version does not know. */
    TESTUDO_GATE_PASS,        /* It goes on. */
    TESTUDO_GATE_HEADER,      /* It goes on, and the application may want to know why it is told. */
    TESTUDO_GATE_BAN,         /* It is refused. */
    TESTUDO_GATE_CAPTCHA,     /* It has to answer a challenge. */
    TESTUDO_GATE_THROTTLE,    /* It comes too often. */
    TESTUDO_GATE_RESTRICT,    /* It may not do this. */
    TESTUDO_GATE_MFA,         /* It has to show a second factor. Where it passes, it is for the application to ask for it. */
    TESTUDO_GATE_UNAVAILABLE  /* It is refused because nothing can be looked up. */
};

/* What holds while the gate cannot be asked. It has to be said. */
enum testudo_gate_fail {
    TESTUDO_GATE_FAIL_UNSAID = 0,
    TESTUDO_GATE_FAIL_OPEN,   /* Everybody passes. */
    TESTUDO_GATE_FAIL_CLOSED  /* Nobody does. */
};

struct testudo_gate_options {
    const char *place;           /* An address with a port, or the path of a socket; NULL: 127.0.0.1:9740. */
    enum testudo_gate_fail fail;
    int timeout_ms;              /* For a whole question, a name that is looked up apart; 0: 500. */
    int cache_ms;                /* How long a verdict holds; 0: 1000; less: not at all. */
    size_t cache_size;           /* The most verdicts that are held, less than 1 KiB each, and the question, up to 4 KiB; 0: 1024. */
};

/* All may be NULL, but an address or a user has to be there. */
struct testudo_gate_question {
    const char *address;
    const char *host;
    const char *method;  /* NULL: GET */
    const char *target;  /* NULL: / */
    const char *user;    /* Where decisions about users are enforced. */
};

/* A decision about an address. Texts that are longer are cut. */
struct testudo_gate_decision {
    int64_t id;
    int64_t seconds;     /* How long it holds on. */
    char type[64];       /* Such as `ban`, `captcha`. */
    char origin[128];    /* Who decided. */
    char scenario[256];  /* Why. */
};

/* What is to be done with a visitor, and why. All zeros are a refusal. */
struct testudo_gate_verdict {
    bool passes;                            /* Whether it goes on. Nothing else says so. */
    enum testudo_gate_action action;
    char outcome[64];                       /* The gate's own word, such as `clean`, `banned`, `challenged`. */
    bool has_decision;
    struct testudo_gate_decision decision;  /* The decision that leads to it. */
    size_t decisions;                       /* How many there are about the address. */
    char failure[96];                       /* Why the gate could not be asked, else empty; then it is the policy that speaks. */
};

struct testudo_gate;

/* A gate, for any number of threads. NULL where the options cannot be, or there is no memory; `error` tells, if it is not NULL. */
struct testudo_gate *testudo_gate_new(const struct testudo_gate_options *options, char *error, size_t error_size);

/* Nobody may ask it any more. */
void testudo_gate_free(struct testudo_gate *gate);

/*
 * What is to be done with an address, a user, or both; counts nothing. 0, or -1 for what is no address, and where there is neither:
 * then the verdict is a refusal.
 */
int testudo_gate_check(struct testudo_gate *gate, const struct testudo_gate_question *question,
                       struct testudo_gate_verdict *verdict);

/*
 * Whose request it is, where proxies stand in between. `trusted` are addresses, ranges, and `unix` for peers on a socket in the
 * file system; `peer` is the address at the other end of the connection, or `unix`; `forwarded_for` are the lines of
 * X-Forwarded-For in their order. 1 and the address, IPv4 never in its mapped form; 0 where nobody can say; -1 where `trusted`
 * holds something else.
 */
int testudo_gate_client(const char *const *trusted, size_t trusted_count, const char *peer, const char *const *forwarded_for,
                        size_t line_count, char client[TESTUDO_GATE_ADDRESS]);

/* The name of an action, such as `ban`. */
const char *testudo_gate_action_name(enum testudo_gate_action action);

#ifdef __cplusplus
}
#endif
#endif /* TESTUDO_GATE_H */

#if defined(TESTUDO_GATE_IMPLEMENTATION) && !defined(TESTUDO_GATE_IMPLEMENTED)
#define TESTUDO_GATE_IMPLEMENTED

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The longest head and body of an answer, in bytes. */
#define TESTUDO_GATE_MAX_HEAD ((size_t)64 << 10)
#define TESTUDO_GATE_MAX_BODY ((size_t)1 << 20)

/* The longest question, in bytes. The gate takes 64 KiB. */
#define TESTUDO_GATE_MAX_QUESTION ((size_t)60 << 10)

/* The longest question whose verdict is held, in bytes: it is held with it, and may be a visitor's. */
#define TESTUDO_GATE_MAX_KEY ((size_t)4 << 10)

/* The outcome of a question that is refused for what is in it. */
#define TESTUDO_GATE_REFUSED "refused"

/* How deep an answer may be nested. */
#define TESTUDO_GATE_MAX_DEPTH 16

/* The largest number that JSON carries everywhere. */
#define TESTUDO_GATE_MAX_NUMBER (((int64_t)1 << 53) - 1)

/* The most hops that are looked at. */
#define TESTUDO_GATE_MAX_HOPS 32

/* Places of the cache in which one question may be held. */
#define TESTUDO_GATE_WAYS 4

/* ---- addresses ---- */

struct tg_address {
    unsigned char bytes[16];
    size_t length; /* 4 or 16 */
};

static const unsigned char tg_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool tg_is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads digits only, up to a number. */
static bool tg_number(const char *text, size_t length, long most, long *number) {
    long found = 0;
    if (length == 0 || length > 7) return false;
    for (size_t i = 0; i < length; i++) {
        if (!tg_is_digit(text[i])) return false;
        found = found * 10 + (text[i] - '0');
    }
    *number = found;
    return found <= most;
}

/* An address as it is written, without its zone. */
static bool tg_read_address(const char *text, size_t length, struct tg_address *address) {
    char bare[TESTUDO_GATE_ADDRESS];
    const char *zone = memchr(text, '%', length);
    size_t bare_length = zone ? (size_t)(zone - text) : length;
    if (bare_length == 0 || bare_length >= sizeof bare || (zone && bare_length + 1 == length)) return false;
    if (memchr(text, '\0', bare_length)) return false;
    memcpy(bare, text, bare_length);
    bare[bare_length] = '\0';
    if (inet_pton(AF_INET6, bare, address->bytes) == 1) {
        address->length = 16;
        return true;
    }
    address->length = 4;
    return !zone && inet_pton(AF_INET, bare, address->bytes) == 1;
}

static bool tg_is_mapped(const struct tg_address *address) {
    return address->length == 16 && memcmp(address->bytes, tg_mapped, sizeof tg_mapped) == 0;
}

/* An address, IPv4 never in its mapped form. */
static bool tg_parse_address(const char *text, size_t length, struct tg_address *address) {
    if (!tg_read_address(text, length, address)) return false;
    if (tg_is_mapped(address)) {
        memmove(address->bytes, address->bytes + sizeof tg_mapped, 4);
        address->length = 4;
    }
    return true;
}

static bool tg_show_address(const struct tg_address *address, char text[TESTUDO_GATE_ADDRESS]) {
    int family = address->length == 4 ? AF_INET : AF_INET6;
    return inet_ntop(family, address->bytes, text, TESTUDO_GATE_ADDRESS) != NULL;
}

/* An address that may have a port: 192.0.2.1:443, [2001:db8::1]:443. */
static bool tg_parse_hop(const char *text, size_t length, struct tg_address *address) {
    while (length > 0 && (*text == ' ' || *text == '\t')) text++, length--;
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) length--;
    const char *end = text + length, *port = NULL;
    const char *first = memchr(text, ':', length);
    if (length > 0 && *text == '[') {
        const char *bracket = memchr(text, ']', length);
        if (!bracket || !first || first > bracket) return false;
        port = bracket + 1 < end ? bracket + 1 : NULL;
        text++;
        length = (size_t)(bracket - text);
    } else if (first && !memchr(first + 1, ':', (size_t)(end - first - 1))) {
        port = first;
        length = (size_t)(first - text);
    }
    long number;
    if (port && (*port != ':' || end - port > 6 || !tg_number(port + 1, (size_t)(end - port - 1), 65535, &number))) return false;
    return tg_parse_address(text, length, address);
}

/* Whether an address is in a range: 1 or 0; -1 where it is none. */
static int tg_is_in(const char *range, const struct tg_address *address) {
    struct tg_address base;
    const char *slash = strchr(range, '/');
    size_t length = slash ? (size_t)(slash - range) : strlen(range);
    if (memchr(range, '%', length) || !tg_read_address(range, length, &base)) return -1;
    long most = (long)base.length * 8, bits = most;
    if (slash && (strlen(slash + 1) > 3 || !tg_number(slash + 1, strlen(slash + 1), most, &bits))) return -1;
    if (tg_is_mapped(&base)) {
        if (bits < 96) return -1;
        memmove(base.bytes, base.bytes + sizeof tg_mapped, 4);
        base.length = 4;
        bits -= 96;
    }
    if (!address || address->length != base.length) return 0;
    for (size_t i = 0; i < base.length; i++) {
        long here = bits - 8 * (long)i;
        unsigned mask = here >= 8 ? 0xffu : here <= 0 ? 0u : (0xffu << (8 - here)) & 0xffu;
        if (((unsigned)(address->bytes[i] ^ base.bytes[i]) & mask) != 0) return 0;
    }
    return 1;
}

static bool tg_trusts(const char *const *trusted, size_t count, const struct tg_address *address) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(trusted[i], "unix") != 0 && tg_is_in(trusted[i], address) == 1) return true;
    }
    return false;
}

int testudo_gate_client(const char *const *trusted, size_t trusted_count, const char *peer, const char *const *forwarded_for,
                        size_t line_count, char client[TESTUDO_GATE_ADDRESS]) {
    bool is_socket = strcmp(peer, "unix") == 0, trusts_sockets = false;
    for (size_t i = 0; i < trusted_count; i++) {
        bool is_unix = strcmp(trusted[i], "unix") == 0;
        trusts_sockets = trusts_sockets || is_unix;
        if (!is_unix && tg_is_in(trusted[i], NULL) < 0) return -1;
    }
    struct tg_address last, hop;
    bool is_known = !is_socket && tg_parse_address(peer, strlen(peer), &last);
    bool goes_on = is_socket ? trusts_sockets : is_known && tg_trusts(trusted, trusted_count, &last);
    int hops = 0;
    for (size_t line = line_count; goes_on && line-- > 0;) {
        const char *start = forwarded_for[line], *end = start + strlen(start);
        while (goes_on) {
            const char *comma = end;
            while (comma > start && comma[-1] != ',') comma--;
            /* What stands left of one that cannot be read is worth nothing. */
            if (hops++ == TESTUDO_GATE_MAX_HOPS || !tg_parse_hop(comma, (size_t)(end - comma), &hop)) {
                goes_on = false;
                break;
            }
            last = hop;
            is_known = true;
            goes_on = tg_trusts(trusted, trusted_count, &hop);
            if (comma == start) break;
            end = comma - 1;
        }
    }
    return is_known && tg_show_address(&last, client) ? 1 : 0;
}

/* ---- JSON, read strictly ---- */

struct tg_json {
    const unsigned char *at, *end;
};

static void tg_space(struct tg_json *json) {
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at) json->at++;
}

/* Takes one character, after white space. */
static bool tg_take(struct tg_json *json, unsigned char wanted) {
    tg_space(json);
    if (json->at == json->end || *json->at != wanted) return false;
    json->at++;
    return true;
}

static bool tg_word(struct tg_json *json, const char *word) {
    size_t length = strlen(word);
    tg_space(json);
    if ((size_t)(json->end - json->at) < length || memcmp(json->at, word, length) != 0) return false;
    json->at += length;
    return true;
}

static bool tg_hex(struct tg_json *json, unsigned *unit) {
    if (json->end - json->at < 4) return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *json->at++;
        unsigned digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f') digit = (c | 32u) - 'a' + 10u;
        else return false;
        *unit = *unit << 4 | digit;
    }
    return true;
}

/* The length of a character of UTF-8, 0 for what is none. */
static size_t tg_utf8(const unsigned char *at, const unsigned char *end) {
    unsigned char first = *at;
    size_t length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
    if (length == 0 || (size_t)(end - at) < length) return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    /* Too long a form, surrogates, beyond the last character. */
    if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f)) return 0;
    if ((first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f)) return 0;
    return length;
}

/* One character of a text as UTF-8: its length; 0 for what is none. A zero is none: it would end the text too early. */
static size_t tg_character(struct tg_json *json, unsigned char character[4]) {
    if (*json->at < 0x20) return 0;
    if (*json->at != '\\') {
        size_t length = tg_utf8(json->at, json->end);
        memcpy(character, json->at, length);
        json->at += length;
        return length;
    }
    if (++json->at == json->end) return 0;
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    unsigned char name = *json->at++;
    const char *found = name ? strchr(names, name) : NULL;
    if (found) {
        character[0] = (unsigned char)values[found - names];
        return 1;
    }
    unsigned unit, low;
    if (name != 'u' || !tg_hex(json, &unit) || unit == 0 || (unit >= 0xdc00 && unit < 0xe000)) return 0;
    if (unit >= 0xd800 && unit < 0xdc00) {
        if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') return 0;
        json->at += 2;
        if (!tg_hex(json, &low) || low < 0xdc00 || low >= 0xe000) return 0;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    if (unit < 0x80) {
        character[0] = (unsigned char)unit;
        return 1;
    }
    size_t length = unit < 0x800 ? 2 : unit < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, unit >>= 6) character[i] = (unsigned char)(0x80 | (unit & 0x3f));
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    character[0] = (unsigned char)(heads[length] | unit);
    return length;
}

/* A text; what does not fit is cut between characters. */
static bool tg_text(struct tg_json *json, char *text, size_t size) {
    size_t used = 0;
    bool is_full = false;
    if (!tg_take(json, '"')) return false;
    while (json->at < json->end && *json->at != '"') {
        unsigned char character[4] = {0};
        size_t length = tg_character(json, character);
        if (length == 0) return false;
        is_full = is_full || used + length >= size;
        if (!is_full) {
            memcpy(text + used, character, length);
            used += length;
        }
    }
    if (json->at == json->end) return false;
    json->at++;
    text[used] = '\0';
    return true;
}

/* A number; whole ones that are not too large are told, others are -1. */
static bool tg_json_number(struct tg_json *json, int64_t *number) {
    tg_space(json);
    const unsigned char *start = json->at;
    bool is_whole = json->at == json->end || *json->at != '-';
    *number = 0;
    if (!is_whole) json->at++;
    const unsigned char *digits = json->at;
    while (json->at < json->end && tg_is_digit((char)*json->at)) {
        if (*number >= 0) *number = *number * 10 + (*json->at - '0');
        if (*number > TESTUDO_GATE_MAX_NUMBER) *number = -1;
        json->at++;
    }
    if (json->at == digits || (*digits == '0' && json->at - digits > 1)) return false;
    if (json->at < json->end && *json->at == '.') {
        digits = ++json->at;
        while (json->at < json->end && tg_is_digit((char)*json->at)) json->at++;
        if (json->at == digits) return false;
        is_whole = false;
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) json->at++;
        digits = json->at;
        while (json->at < json->end && tg_is_digit((char)*json->at)) json->at++;
        if (json->at == digits) return false;
        is_whole = false;
    }
    if (!is_whole) *number = -1;
    return json->at > start;
}

static bool tg_skip(struct tg_json *json, int depth) {
    char text[1];
    int64_t number;
    bool is_object;
    if (depth == 0) return false;
    tg_space(json);
    if (json->at == json->end) return false;
    switch (*json->at) {
    case '"': return tg_text(json, text, sizeof text);
    case 't': return tg_word(json, "true");
    case 'f': return tg_word(json, "false");
    case 'n': return tg_word(json, "null");
    case '[':
    case '{': break;
    default: return tg_json_number(json, &number);
    }
    is_object = *json->at++ == '{';
    if (tg_take(json, is_object ? '}' : ']')) return true;
    do {
        if (is_object && (!tg_text(json, text, sizeof text) || !tg_take(json, ':'))) return false;
        if (!tg_skip(json, depth - 1)) return false;
    } while (tg_take(json, ','));
    return tg_take(json, is_object ? '}' : ']');
}

static bool tg_decision(struct tg_json *json, struct testudo_gate_decision *decision) {
    char key[16];
    bool has_type = false, has_origin = false, has_scenario = false;
    decision->id = decision->seconds = -1;
    if (!tg_take(json, '{') || tg_take(json, '}')) return false;
    do {
        bool is_good;
        if (!tg_text(json, key, sizeof key) || !tg_take(json, ':')) return false;
        if (strcmp(key, "id") == 0) is_good = tg_json_number(json, &decision->id);
        else if (strcmp(key, "seconds") == 0) is_good = tg_json_number(json, &decision->seconds);
        else if (strcmp(key, "type") == 0) is_good = has_type = tg_text(json, decision->type, sizeof decision->type);
        else if (strcmp(key, "origin") == 0) is_good = has_origin = tg_text(json, decision->origin, sizeof decision->origin);
        else if (strcmp(key, "scenario") == 0) is_good = has_scenario = tg_text(json, decision->scenario, sizeof decision->scenario);
        else is_good = tg_skip(json, TESTUDO_GATE_MAX_DEPTH);
        if (!is_good) return false;
    } while (tg_take(json, ','));
    return tg_take(json, '}') && has_type && has_origin && has_scenario && decision->id >= 0 && decision->seconds >= 0;
}

/* All decisions, and the one of this number. */
static bool tg_decisions(struct tg_json *json, int64_t number, struct testudo_gate_verdict *verdict) {
    struct testudo_gate_decision decision;
    if (!tg_take(json, '[')) return false;
    if (tg_take(json, ']')) return true;
    do {
        if (!tg_decision(json, &decision)) return false;
        verdict->decisions++;
        if (decision.id == number && !verdict->has_decision) {
            verdict->decision = decision;
            verdict->has_decision = true;
        }
    } while (tg_take(json, ','));
    return tg_take(json, ']');
}

static bool tg_is_one_of(const char *word, const char *const *words) {
    while (*words && strcmp(word, *words) != 0) words++;
    return *words != NULL;
}

/* Outcomes with which a request goes on. One that is not among them is a refusal, whatever else is said. */
static const char *const tg_passing[] = {"clean", "allowed", "marked", "passed", "confirmed", "mfa",
                                         "slow", "harmless", "unchecked", NULL};

static enum testudo_gate_action tg_action(const struct testudo_gate_verdict *verdict) {
    static const struct {
        const char *outcome;
        enum testudo_gate_action action;
    } refusals[] = {
        {"banned", TESTUDO_GATE_BAN},           {"challenged", TESTUDO_GATE_CAPTCHA},
        {"throttled", TESTUDO_GATE_THROTTLE},   {"restricted", TESTUDO_GATE_RESTRICT},
        {"unconfirmed", TESTUDO_GATE_MFA},      {"unidentified", TESTUDO_GATE_MFA},
        {"unavailable", TESTUDO_GATE_UNAVAILABLE},
    };
    if (verdict->passes && strcmp(verdict->outcome, "mfa") == 0) return TESTUDO_GATE_MFA;
    if (verdict->passes) return strcmp(verdict->outcome, "marked") == 0 ? TESTUDO_GATE_HEADER : TESTUDO_GATE_PASS;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (strcmp(verdict->outcome, refusals[i].outcome) == 0) return refusals[i].action;
    }
    bool asks_more = verdict->has_decision && strcmp(verdict->decision.type, "mfa") == 0;
    return asks_more && !tg_is_one_of(verdict->outcome, tg_passing) ? TESTUDO_GATE_MFA : TESTUDO_GATE_STOP;
}

/* Reads the answer to a check, which was asked about a user or not. */
static bool tg_read_check(int status, const unsigned char *body, size_t length, bool names_user, struct testudo_gate_verdict *verdict) {
    char key[16];
    bool says_pass = false, has_pass = false, has_outcome = false, has_number = false, has_user = false;
    struct tg_json json = {body, body + length}, list = {NULL, NULL};
    int64_t number = -1;
    memset(verdict, 0, sizeof *verdict);
    /* The visitor's doing, and no failure of the gate. */
    if (status == 400 || status == 413 || status == 414 || status == 431) {
        strcpy(verdict->outcome, TESTUDO_GATE_REFUSED);
        return true;
    }
    if (status != 200 || !tg_take(&json, '{') || tg_take(&json, '}')) return false;
    do {
        bool is_good;
        if (!tg_text(&json, key, sizeof key) || !tg_take(&json, ':')) return false;
        if (strcmp(key, "pass") == 0) {
            says_pass = tg_word(&json, "true");
            is_good = has_pass = says_pass || tg_word(&json, "false");
        } else if (strcmp(key, "outcome") == 0) {
            is_good = has_outcome = tg_text(&json, verdict->outcome, sizeof verdict->outcome);
        } else if (strcmp(key, "decision") == 0) {
            bool is_null = tg_word(&json, "null");
            number = -1;
            is_good = has_number = is_null || (tg_json_number(&json, &number) && number >= 0);
        } else {
            if (strcmp(key, "decisions") == 0) list = json;
            tg_space(&json);
            if (strcmp(key, "user") == 0) has_user = json.at < json.end && *json.at == '"';
            is_good = tg_skip(&json, TESTUDO_GATE_MAX_DEPTH);
        }
        if (!is_good) return false;
    } while (tg_take(&json, ','));
    bool is_whole = tg_take(&json, '}');
    tg_space(&json);
    if (!is_whole || json.at != json.end || !has_pass || !has_outcome || !has_number || !list.at) return false;
    if (!tg_decisions(&list, number, verdict)) return false;
    verdict->passes = says_pass && tg_is_one_of(verdict->outcome, tg_passing);
    verdict->action = tg_action(verdict);
    /* A gate that knows nothing of users says nothing of one, and so nothing about this one. */
    if (verdict->passes && names_user && !has_user) return false;
    return true;
}

/* ---- one question, and its answer ---- */

struct tg_buffer {
    char *bytes;
    size_t length, size;
    bool is_broken; /* There is no memory. */
};

static void tg_append(struct tg_buffer *buffer, const char *bytes, size_t length) {
    if (buffer->is_broken || length == 0) return;
    if (buffer->size - buffer->length < length) {
        size_t size = (buffer->length + length) * 2;
        char *grown = realloc(buffer->bytes, size);
        if (!grown) {
            buffer->is_broken = true;
            return;
        }
        buffer->bytes = grown;
        buffer->size = size;
    }
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

static void tg_append_text(struct tg_buffer *buffer, const char *text) { tg_append(buffer, text, strlen(text)); }

/* A text within a query. */
static void tg_append_escaped(struct tg_buffer *buffer, const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        char escaped[3] = {'%', hex[byte >> 4], hex[byte & 15]};
        bool is_plain = strchr(plain, byte) != NULL;
        tg_append(buffer, is_plain ? text : escaped, is_plain ? 1 : 3);
    }
}

static int64_t tg_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for a connection. NULL, or what is wrong. */
static const char *tg_wait(int connection, short events, int64_t end) {
    for (;;) {
        struct pollfd polled = {connection, events, 0};
        int64_t left = end - tg_now_ms();
        if (left <= 0) return "the gate cannot be asked: it takes too long";
        int ready = poll(&polled, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0) return NULL;
        if (ready < 0 && errno != EINTR) return "the gate cannot be asked: the system refuses to wait";
    }
}

/* Connects to one address. The connection, or -1. */
static int tg_connect(int family, const struct sockaddr *address, socklen_t length, int64_t end) {
    int error = 0, connection = socket(family, SOCK_STREAM, 0);
    socklen_t size = sizeof error;
    if (connection < 0) return -1;
    int flags = fcntl(connection, F_GETFL);
    bool is_set = fcntl(connection, F_SETFD, FD_CLOEXEC) == 0 && fcntl(connection, F_SETFL, flags | O_NONBLOCK) == 0;
#ifdef SO_NOSIGPIPE
    int yes = 1;
    is_set = is_set && setsockopt(connection, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes) == 0;
#endif
    if (is_set && connect(connection, address, length) == 0) return connection;
    if (is_set && errno == EINPROGRESS && !tg_wait(connection, POLLOUT, end) &&
        getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
        return connection;
    }
    close(connection);
    return -1;
}

/* Takes a place apart: a path, or a host and a port. */
static bool tg_place(const char *place, char *host, size_t host_size, char port[6]) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    static const char six[] = "0123456789abcdefABCDEF:.";
    const char *colon = strrchr(place, ':');
    long number;
    if (!colon || colon == place || strlen(colon + 1) > 5) return false;
    if (!tg_number(colon + 1, strlen(colon + 1), 65535, &number) || number == 0) return false;
    bool has_brackets = *place == '[' && colon[-1] == ']';
    const char *start = has_brackets ? place + 1 : place;
    size_t length = (size_t)(colon - start) - (has_brackets ? 1 : 0);
    if (length == 0 || length >= host_size) return false;
    memcpy(host, start, length);
    host[length] = '\0';
    strcpy(port, colon + 1);
    return strspn(host, has_brackets ? six : plain) == length;
}

static int tg_connect_to(const char *place, int64_t end) {
    char host[256], port[6];
    int connection = -1;
    if (*place == '/') {
        struct sockaddr_un address;
        memset(&address, 0, sizeof address);
        address.sun_family = AF_UNIX;
        strcpy(address.sun_path, place);
        return tg_connect(AF_UNIX, (const struct sockaddr *)&address, sizeof address, end);
    }
    struct addrinfo hints, *found, *at;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    if (!tg_place(place, host, sizeof host, port) || getaddrinfo(host, port, &hints, &found) != 0) return -1;
    for (at = found; at && connection < 0; at = at->ai_next) connection = tg_connect(at->ai_family, at->ai_addr, at->ai_addrlen, end);
    freeaddrinfo(found);
    return connection;
}

static const char *tg_send(int connection, const struct tg_buffer *question, int64_t end) {
#ifdef MSG_NOSIGNAL
    const int flags = MSG_NOSIGNAL;
#else
    const int flags = 0;
#endif
    for (size_t sent = 0; sent < question->length;) {
        const char *wrong = tg_wait(connection, POLLOUT, end);
        if (wrong) return wrong;
        ssize_t count = send(connection, question->bytes + sent, question->length - sent, flags);
        if (count > 0) sent += (size_t)count;
        /* Who refuses a question may have said so before all of it was there. */
        else if (errno == EPIPE || errno == ECONNRESET) return NULL;
        else if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) return "the gate cannot be asked: it does not listen";
    }
    return NULL;
}

static bool tg_is_token(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || tg_is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool tg_is_name(const char *line, const char *wanted, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char c = line[i] >= 'A' && line[i] <= 'Z' ? (char)(line[i] | 32) : line[i];
        if (c != wanted[i]) return false;
    }
    return wanted[length] == '\0';
}

/* Reads the head of an answer, without the empty line at its end. */
static const char *tg_head(const char *head, size_t length, int *status, size_t *body_length) {
    const char *end = head + length, *not_http = "the gate's answer is not HTTP";
    const char *unsized = "the gate's answer does not say how long it is, or is too long";
    int lengths = 0;
    if (length < 12 || memcmp(head, "HTTP/1.", 7) != 0 || (head[7] != '0' && head[7] != '1') || head[8] != ' ') return not_http;
    if (head[9] < '2' || head[9] > '5' || !tg_is_digit(head[10]) || !tg_is_digit(head[11])) return not_http;
    if (length > 12 && head[12] != ' ' && head[12] != '\r') return not_http;
    *status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
    bool is_first = true;
    for (const char *line = head; line < end; is_first = false) {
        const char *stop = line;
        while (stop < end && *stop != '\r' && *stop != '\n' && *stop) stop++;
        if (stop < end && (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')) return not_http;
        const char *next = stop < end ? stop + 2 : end;
        const char *colon = line;
        while (colon < stop && tg_is_token(*colon)) colon++;
        if (!is_first && (colon == line || colon == stop || *colon != ':')) return not_http;
        if (!is_first && tg_is_name(line, "transfer-encoding", (size_t)(colon - line))) return unsized;
        if (!is_first && tg_is_name(line, "content-length", (size_t)(colon - line))) {
            const char *value = colon + 1;
            long number;
            while (value < stop && (*value == ' ' || *value == '\t')) value++;
            while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
            if (!tg_number(value, (size_t)(stop - value), (long)TESTUDO_GATE_MAX_BODY, &number)) return unsized;
            *body_length = (size_t)number;
            lengths++;
        }
        line = next;
    }
    return lengths == 1 ? NULL : unsized;
}

/* Where the head of an answer ends, or NULL. */
static const char *tg_head_end(const struct tg_buffer *answer) {
    size_t most = answer->length < TESTUDO_GATE_MAX_HEAD ? answer->length : TESTUDO_GATE_MAX_HEAD;
    for (size_t i = 0; i + 4 <= most; i++) {
        if (memcmp(answer->bytes + i, "\r\n\r\n", 4) == 0) return answer->bytes + i;
    }
    return NULL;
}

/* Reads an answer until it is whole: its status, and where its body begins and how long it is. */
static const char *tg_receive(int connection, struct tg_buffer *answer, int64_t end, int *status, size_t *start, size_t *length) {
    char chunk[16 << 10];
    *start = 0;
    for (;;) {
        const char *wrong = tg_wait(connection, POLLIN, end);
        if (wrong) return wrong;
        ssize_t count = recv(connection, chunk, sizeof chunk, 0);
        if (count < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) continue;
        if (count < 0) return "the gate cannot be asked: it broke off";
        tg_append(answer, chunk, (size_t)count);
        if (answer->is_broken) return "the gate cannot be asked: there is no memory";
        if (*start == 0 && answer->length > 0) {
            const char *head_end = tg_head_end(answer);
            if (head_end) {
                *start = (size_t)(head_end - answer->bytes) + 4;
                wrong = tg_head(answer->bytes, *start - 4, status, length);
                if (wrong) return wrong;
            } else if (answer->length >= TESTUDO_GATE_MAX_HEAD) {
                return "the head of the gate's answer is too long";
            }
        }
        if (*start > 0 && answer->length - *start >= *length) return NULL;
        if (count == 0) return "the gate's answer is cut off";
    }
}

/* ---- verdicts that hold for a moment ---- */

enum tg_state { TG_EMPTY = 0, TG_ASKING, TG_HELD, TG_FAILED };

struct tg_entry {
    enum tg_state state;
    char *key;
    uint64_t hash;
    int64_t end_ms;
    size_t waiting; /* Threads that wait for it, or have not read it yet. */
    struct testudo_gate_verdict verdict;
};

struct testudo_gate {
    char *place;
    bool is_open;
    int timeout_ms, cache_ms;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct tg_entry *entries;
    size_t entry_count;
};

static char *tg_copy(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

struct testudo_gate *testudo_gate_new(const struct testudo_gate_options *options, char *error, size_t error_size) {
    char host[256], port[6];
    const char *place = options->place ? options->place : "127.0.0.1:9740", *wrong = NULL;
    int timeout_ms = options->timeout_ms ? options->timeout_ms : 500;
    size_t size = options->cache_size ? options->cache_size : 1024;
    bool is_path = *place == '/' && strlen(place) < sizeof((struct sockaddr_un *)0)->sun_path;
    if (options->fail != TESTUDO_GATE_FAIL_OPEN && options->fail != TESTUDO_GATE_FAIL_CLOSED) wrong = "fail: say whether it is open or closed";
    else if (!is_path && (*place == '/' || !tg_place(place, host, sizeof host, port))) wrong = "the gate's place is neither like 127.0.0.1:9740 nor the path of a socket";
    else if (timeout_ms < 0 || timeout_ms > 60000) wrong = "timeout_ms: more than 0 and up to 60000";
    struct testudo_gate *gate = wrong ? NULL : calloc(1, sizeof *gate);
    if (gate) {
        gate->place = tg_copy(place);
        gate->is_open = options->fail == TESTUDO_GATE_FAIL_OPEN;
        gate->timeout_ms = timeout_ms;
        gate->cache_ms = options->cache_ms ? options->cache_ms : 1000;
        gate->entry_count = (size + TESTUDO_GATE_WAYS - 1) / TESTUDO_GATE_WAYS * TESTUDO_GATE_WAYS;
        gate->entries = calloc(gate->entry_count, sizeof *gate->entries);
        bool has_lock = pthread_mutex_init(&gate->lock, NULL) == 0;
        bool has_signal = pthread_cond_init(&gate->answered, NULL) == 0;
        if (!gate->place || !gate->entries || !has_lock || !has_signal) {
            if (has_lock) pthread_mutex_destroy(&gate->lock);
            if (has_signal) pthread_cond_destroy(&gate->answered);
            free(gate->entries);
            free(gate->place);
            free(gate);
            gate = NULL;
        }
    }
    if (!gate && error && error_size > 0) snprintf(error, error_size, "%s", wrong ? wrong : "there is no memory");
    return gate;
}

void testudo_gate_free(struct testudo_gate *gate) {
    if (!gate) return;
    for (size_t i = 0; i < gate->entry_count; i++) free(gate->entries[i].key);
    pthread_mutex_destroy(&gate->lock);
    pthread_cond_destroy(&gate->answered);
    free(gate->entries);
    free(gate->place);
    free(gate);
}

/* What holds while the gate cannot be asked. */
static void tg_failed(const struct testudo_gate *gate, const char *why, struct testudo_gate_verdict *verdict) {
    memset(verdict, 0, sizeof *verdict);
    verdict->passes = gate->is_open;
    verdict->action = gate->is_open ? TESTUDO_GATE_PASS : TESTUDO_GATE_UNAVAILABLE;
    snprintf(verdict->outcome, sizeof verdict->outcome, "%s", gate->is_open ? "unchecked" : "unavailable");
    snprintf(verdict->failure, sizeof verdict->failure, "%s", why);
}

static void tg_ask(const struct testudo_gate *gate, const char *key, bool names_user, struct testudo_gate_verdict *verdict) {
    struct tg_buffer question = {NULL, 0, 0, false}, answer = {NULL, 0, 0, false};
    int64_t end = tg_now_ms() + gate->timeout_ms;
    const char *wrong = "the gate cannot be asked: it does not listen";
    int status = 0;
    size_t start = 0, length = 0;
    tg_append_text(&question, "GET /check?");
    tg_append_text(&question, key);
    tg_append_text(&question, " HTTP/1.0\r\nHost: gate\r\n\r\n");
    bool is_too_large = question.length > TESTUDO_GATE_MAX_QUESTION && !question.is_broken;
    int connection = question.is_broken || is_too_large ? -1 : tg_connect_to(gate->place, end);
    /* To send it would be to have the connection broken off; so it is answered as the gate would. */
    if (is_too_large && tg_read_check(431, NULL, 0, false, verdict)) wrong = NULL;
    if (connection >= 0) {
        wrong = tg_send(connection, &question, end);
        if (!wrong) wrong = tg_receive(connection, &answer, end, &status, &start, &length);
        close(connection);
        if (!wrong && !tg_read_check(status, (const unsigned char *)answer.bytes + start, length, names_user, verdict)) {
            wrong = "the gate's answer to a check cannot be read";
        }
    }
    if (wrong) tg_failed(gate, wrong, verdict);
    free(question.bytes);
    free(answer.bytes);
}

/* The entry of a key, or one that may be taken for it, or NULL. With the lock held. */
static struct tg_entry *tg_find(struct testudo_gate *gate, const char *key, uint64_t hash, int64_t now) {
    struct tg_entry *ways = gate->entries + hash % (gate->entry_count / TESTUDO_GATE_WAYS) * TESTUDO_GATE_WAYS, *best = NULL;
    for (int i = 0; i < TESTUDO_GATE_WAYS; i++) {
        struct tg_entry *entry = ways + i;
        if (entry->state != TG_EMPTY && entry->hash == hash && strcmp(entry->key, key) == 0) return entry;
        bool is_free = entry->state != TG_ASKING && entry->waiting == 0;
        int64_t end = entry->state == TG_HELD && entry->end_ms > now ? entry->end_ms : 0;
        int64_t best_end = best && best->state == TG_HELD && best->end_ms > now ? best->end_ms : 0;
        if (is_free && (!best || end < best_end)) best = entry;
    }
    return best;
}

static uint64_t tg_hash(const char *key) {
    /* FNV-1a. Who brings keys together has verdicts asked for again, no more. */
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *key; key++) hash = (hash ^ (unsigned char)*key) * UINT64_C(1099511628211);
    return hash;
}

static void tg_get(struct testudo_gate *gate, char *key, bool names_user, struct testudo_gate_verdict *verdict) {
    if (strlen(key) > TESTUDO_GATE_MAX_KEY) {
        tg_ask(gate, key, names_user, verdict);
        free(key);
        return;
    }
    /* It was made with room to grow. */
    char *fitted = realloc(key, strlen(key) + 1);
    if (fitted) key = fitted;
    uint64_t hash = tg_hash(key);
    int64_t now = tg_now_ms();
    pthread_mutex_lock(&gate->lock);
    struct tg_entry *entry = tg_find(gate, key, hash, now);
    bool is_same = entry && entry->state != TG_EMPTY && entry->hash == hash && strcmp(entry->key, key) == 0;
    if (is_same && (entry->state == TG_ASKING || (entry->state == TG_HELD && entry->end_ms > now))) {
        entry->waiting++;
        while (entry->state == TG_ASKING) pthread_cond_wait(&gate->answered, &gate->lock);
        *verdict = entry->verdict;
        entry->waiting--;
        pthread_mutex_unlock(&gate->lock);
        free(key);
        return;
    }
    /* Who has not read the last answer yet must find it. */
    if (entry && entry->waiting > 0) entry = NULL;
    if (entry) {
        free(entry->key);
        entry->key = key;
        entry->hash = hash;
        entry->state = TG_ASKING;
    }
    pthread_mutex_unlock(&gate->lock);
    tg_ask(gate, key, names_user, verdict);
    if (!entry) {
        free(key);
        return;
    }
    pthread_mutex_lock(&gate->lock);
    entry->verdict = *verdict;
    bool may_be_held = !*verdict->failure && strcmp(verdict->outcome, TESTUDO_GATE_REFUSED) != 0;
    entry->state = may_be_held ? TG_HELD : TG_FAILED;
    entry->end_ms = gate->cache_ms > 0 ? tg_now_ms() + gate->cache_ms : 0;
    pthread_cond_broadcast(&gate->answered);
    pthread_mutex_unlock(&gate->lock);
}

int testudo_gate_check(struct testudo_gate *gate, const struct testudo_gate_question *question,
                       struct testudo_gate_verdict *verdict) {
    struct tg_address address;
    char usual[TESTUDO_GATE_ADDRESS] = "";
    const char *user = question->user ? question->user : "", *given = question->address;
    struct tg_buffer key = {NULL, 0, 0, false};
    memset(verdict, 0, sizeof *verdict);
    if (!given && !*user) return -1;
    if (given && (!tg_parse_address(given, strlen(given), &address) || !tg_show_address(&address, usual))) return -1;
    /* What is empty counts as not said. */
    const char *parts[] = {"ip=", usual, "&user=", user, "&host=", question->host ? question->host : "", "&method=",
                           question->method ? question->method : "GET", "&target=", question->target ? question->target : "/"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i % 2 == 0) tg_append_text(&key, parts[i]);
        else tg_append_escaped(&key, parts[i]);
    }
    tg_append(&key, "", 1);
    if (key.is_broken) {
        free(key.bytes);
        tg_failed(gate, "the gate cannot be asked: there is no memory", verdict);
        return 0;
    }
    tg_get(gate, key.bytes, *user != '\0', verdict);
    return 0;
}

const char *testudo_gate_action_name(enum testudo_gate_action action) {
    static const char *const names[] = {"stop", "pass", "header", "ban", "captcha", "throttle", "restrict", "mfa", "unavailable"};
    return (size_t)action < sizeof names / sizeof *names ? names[action] : "stop";
}

#endif /* TESTUDO_GATE_IMPLEMENTATION */
