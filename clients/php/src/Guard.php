<?php

declare(strict_types=1);

namespace Testudo\Gate;

/**
 * Guards a site: who may not pass sees the gate's page; what they send is handed on after the challenge.
 *
 * Scripts find the verdict by `Guard::verdict()`, and in `$_SERVER` as `HTTP_X_TESTUDO_OUTCOME`, `_DECISION`, `_TYPE`, `_ORIGIN`,
 * `_SCENARIO`, in which nothing stands that a visitor sent. `getallheaders()` tells what the visitor sent.
 */
final class Guard
{
    /** The path below which visitors talk to the gate itself. */
    private const OWN_PATH = '/.well-known/testudo/';

    /** The query by which what is meant for the gate comes to a script that is there, since no other path may lead to PHP. */
    private const OWN_QUERY = 'testudo-gate=';

    /** The largest form that survives a challenge, in bytes. */
    private const MAX_FORM = 64 << 10;

    /** The largest answer to a challenge, in bytes: that form encoded once more, and what the challenge is made of. */
    private const MAX_ANSWER = 256 << 10;

    /** The types of forms that the gate keeps while a challenge is answered; of the second, only those without files. */
    private const FORMS = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];

    /** What may be a method or the name of a header. */
    private const TOKEN = '/^[!#$%&\'*+.^_`|~0-9A-Za-z-]{1,256}$/D';

    // What concerns one connection only, and what the guard says itself.
    private const OWN_NAMES = ['host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding',
        'upgrade', 'content-length', 'expect', 'forwarded', 'x-real-ip'];
    private const OWN_PREFIXES = ['x-testudo-', 'x-original-', 'x-forwarded-'];
    // What the gate looks at in a visitor's own request. Other names could be those by which it is told who the user is.
    private const VISITORS_NAMES = ['cookie', 'user-agent', 'origin', 'referer', 'content-type', 'x-http-method',
        'x-http-method-override', 'x-method-override'];
    private const VISITORS_PREFIXES = ['accept', 'sec-'];
    private const UNSENT = ['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'date', 'server'];
    private const TOLD = ['x-testudo-outcome', 'x-testudo-decision', 'x-testudo-type', 'x-testudo-origin', 'x-testudo-scenario'];

    private static ?Verdict $verdict = null;

    private readonly Proxies $proxies;

    /**
     * @param iterable<string> $trustedProxies whose word about a client's address counts; see `Proxies`
     * @throws \InvalidArgumentException for proxies that are none
     */
    public function __construct(private readonly Gate $gate, iterable $trustedProxies = [])
    {
        $this->proxies = new Proxies($trustedProxies);
    }

    /**
     * A guard of what stands in the environment: `TESTUDO_GATE_FAIL` (`open` or `closed`; has to be there), `TESTUDO_GATE`
     * (where it listens), `TESTUDO_GATE_TIMEOUT` (seconds), `TESTUDO_GATE_TRUSTED_PROXIES` (with commas).
     *
     * @throws \InvalidArgumentException for what cannot be
     */
    public static function fromEnvironment(): self
    {
        // Names that do not begin with HTTP_ are not a visitor's.
        $said = static fn (string $name, string $default): string => (string) ($_SERVER[$name] ?? (getenv($name) ?: $default));
        $timeout = $said('TESTUDO_GATE_TIMEOUT', '0.5');
        $gate = new Gate(
            $said('TESTUDO_GATE_FAIL', ''),
            $said('TESTUDO_GATE', '127.0.0.1:9740'),
            is_numeric($timeout) ? (float) $timeout : 0.0,
        );
        $proxies = preg_split('/[\s,]+/', $said('TESTUDO_GATE_TRUSTED_PROXIES', ''), -1, PREG_SPLIT_NO_EMPTY);
        return new self($gate, $proxies ?: []);
    }

    /** The verdict about this request, after a guard let it pass. */
    public static function verdict(): ?Verdict
    {
        return self::$verdict;
    }

    /** Lets this request pass, or answers it and ends. To be called before anything is written. */
    public function protect(): void
    {
        $found = $this->judgeRequest($_SERVER, static fn (int $most) => self::input($most));
        if ($found instanceof Answer) {
            self::send($found);
            exit;
        }
        [$verdict, $told] = $found;
        foreach (array_keys($_SERVER) as $name) {
            if (str_starts_with((string) $name, 'HTTP_X_TESTUDO_')) {
                unset($_SERVER[$name]);
            }
        }
        foreach ($told as [$name, $value]) {
            $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] = $value;
        }
        self::$verdict = $verdict;
    }

    /**
     * The verdict that lets a request pass and what its script is told; or what the visitor is answered.
     *
     * @param array<string, mixed> $server as `$_SERVER`
     * @param callable(int): ?string $read the body; null if it has more bytes, or is not there any more
     * @return Answer|array{Verdict, list<array{string, string}>}
     */
    public function judgeRequest(array $server, callable $read): Answer|array
    {
        $visit = $this->visit($server);
        if ($visit instanceof Answer) {
            return $visit;
        }
        if (self::isOwn($visit['target'])) {
            $body = $read(self::MAX_ANSWER);
            if ($body === null) {
                return self::plain(413, "Too large\n");
            }
            try {
                $answer = $this->gate->ask($visit['method'], $visit['target'], self::about($visit), $body);
                return self::reply($answer, $visit['script']);
            } catch (GateError $error) {
                $this->gate->failed($error);
                return self::unavailable();
            }
        }
        try {
            $found = self::judge($this->gate->ask('GET', '/auth', self::original($visit)));
        } catch (GateError $error) {
            $verdict = $this->gate->failed($error);
            return $verdict->passes ? [$verdict, [['x-testudo-outcome', $verdict->outcome]]] : self::unavailable();
        }
        return is_array($found) ? $found : $this->refuse($visit, $found, $read);
    }

    /**
     * Reads the answer to a check: a pass, or the outcome of a refusal, null where it has no page.
     *
     * @internal
     * @return string|null|array{Verdict, list<array{string, string}>}
     * @throws GateError
     */
    public static function judge(Answer $answer): string|null|array
    {
        if (in_array($answer->status, Verdict::REFUSED, true)) {
            return null;
        }
        $outcome = $answer->header('x-testudo-outcome');
        if (!in_array($answer->status, [200, 403], true) || $outcome === null) {
            throw new GateError("the gate answers with {$answer->status}, and not as a gate does");
        }
        if ($answer->status !== 200 || !in_array($outcome, Verdict::PASSING, true)) {
            return $outcome;
        }
        $told = array_map(static fn (string $name) => [$name, $answer->header($name) ?? ''], self::TOLD);
        [, $number, $type, $origin, $scenario] = array_column($told, 1);
        $isNumber = preg_match('/^[0-9]{1,15}$/D', $number) === 1;
        $decision = $isNumber ? new Decision((int) $number, $type, $origin, $scenario, null) : null;
        $action = Action::of(true, $outcome, $type);
        return [new Verdict(true, $action, $outcome, $decision, $decision ? [$decision] : []), $told];
    }

    /**
     * Whether an answer says that a visitor may not pass, and is the gate's.
     *
     * @internal
     */
    public static function isPage(Answer $answer): bool
    {
        $isRefusal = $answer->status >= 400 && $answer->status < 500 || $answer->status === 503;
        return $isRefusal && $answer->header('x-testudo-outcome') !== null;
    }

    /**
     * Whether a visit brings a form that the gate may keep.
     *
     * @internal
     */
    public static function hasForm(string $method, string $contentType): bool
    {
        return $method === 'POST' && in_array(strtolower(trim(explode(';', $contentType)[0])), self::FORMS, true);
    }

    /**
     * Whether a target is meant for the gate.
     *
     * @internal
     */
    public static function isOwn(string $target): bool
    {
        return str_starts_with($target, self::OWN_PATH);
    }

    /**
     * Whether a header is not handed on to the gate. What is no name, which no server lets through, is not.
     *
     * @internal
     */
    public static function isKeptBack(string $given, bool $isByProxy): bool
    {
        $name = strtr(strtolower($given), '_', '-');
        $begins = static fn (string $prefix): bool => str_starts_with($name, $prefix);
        $isOurs = in_array($name, self::OWN_NAMES, true) || array_filter(self::OWN_PREFIXES, $begins) !== [];
        if (preg_match(self::TOKEN, $given) !== 1 || $isOurs) {
            return true;
        }
        $isVisitors = in_array($name, self::VISITORS_NAMES, true) || array_filter(self::VISITORS_PREFIXES, $begins) !== [];
        return !$isByProxy && !$isVisitors;
    }

    /**
     * @param array<string, mixed> $server
     * @return Answer|array{address: string, host: string, method: string, target: string, script: string, isHttps: bool,
     *     isByProxy: bool, kind: string, headers: list<array{string, string}>}
     */
    private function visit(array $server): Answer|array
    {
        $text = static fn (string $name): string => is_string($server[$name] ?? null) ? $server[$name] : '';
        $method = $text('REQUEST_METHOD');
        if (preg_match(self::TOKEN, $method) !== 1) {
            return self::plain(400, "Not a method\n");
        }
        // nginx on a socket in the file system says `unix:`.
        // Who has no address at all is nobody, and must not be taken for a proxy.
        $peer = $text('REMOTE_ADDR') === 'unix:' ? 'unix' : $text('REMOTE_ADDR');
        $lines = isset($server['HTTP_X_FORWARDED_FOR']) ? [$text('HTTP_X_FORWARDED_FOR')] : [];
        $address = $this->proxies->client($peer, $lines);
        if ($address === null) {
            return self::plain(500, "nobody says whose request this is: see the trusted proxies\n");
        }
        $isHttps = !in_array(strtolower($text('HTTPS')), ['', 'off'], true);
        if (isset($server['HTTP_X_FORWARDED_PROTO']) && $this->proxies->trusts($peer)) {
            $isHttps = strtolower(trim($text('HTTP_X_FORWARDED_PROTO'))) === 'https';
        }
        $escape = static fn (array $found): string => rawurlencode($found[0]);
        $target = preg_replace_callback('/[^\x21-\x7e]/', $escape, $text('REQUEST_URI') ?: '/') ?? '/';
        $query = '/^' . self::OWN_QUERY . '([a-z-]{1,32})$/D';
        $isForGate = $method === 'POST' && preg_match($query, $text('QUERY_STRING'), $found) === 1;
        $headers = [];
        foreach ($server as $name => $value) {
            if (is_string($value) && str_starts_with((string) $name, 'HTTP_')) {
                $headers[] = [ucwords(strtolower(strtr(substr($name, 5), '_', '-')), '-'), $value];
            }
        }
        if ($text('CONTENT_TYPE') !== '') {
            $headers[] = ['Content-Type', $text('CONTENT_TYPE')];
        }
        return [
            'address' => $address,
            'host' => $text('HTTP_HOST'),
            'method' => $method,
            'target' => $isForGate ? self::OWN_PATH . $found[1] : $target,
            'script' => explode('?', $target)[0],
            'isHttps' => $isHttps,
            'isByProxy' => $this->proxies->trusts($peer),
            'kind' => $text('CONTENT_TYPE'),
            'headers' => $headers,
        ];
    }

    /**
     * What a visitor sees who may not pass.
     *
     * @param array<string, mixed> $visit
     * @param callable(int): ?string $read
     */
    private function refuse(array $visit, ?string $outcome, callable $read): Answer
    {
        if ($outcome === null) {
            return self::refused();
        }
        $body = $read(self::hasForm($visit['method'], $visit['kind']) ? self::MAX_FORM : 0);
        $headers = self::original($visit);
        if ($body === null) {
            // A byte of no type, which the gate will not keep, stands for what cannot be kept, so that the page tells.
            $headers = array_values(array_filter($headers, static fn (array $pair) => $pair[0] !== 'Content-Type'));
            $body = '?';
        }
        $headers[] = ['X-Testudo-Outcome', $outcome];
        try {
            $answer = $this->gate->ask('POST', '/page', $headers, $body);
        } catch (GateError $error) {
            $this->gate->failed($error);
            return self::refused();
        }
        // One of our own where it is none. Who is refused stays refused.
        return self::isPage($answer) ? self::reply($answer, $visit['script']) : self::refused();
    }

    /**
     * What is told about a visit. What stands here is no visitor's word: theirs are not handed on under these names.
     *
     * @param array<string, mixed> $visit
     * @return list<array{string, string}>
     */
    private static function about(array $visit): array
    {
        $handedOn = array_filter($visit['headers'], static fn (array $pair) => !self::isKeptBack($pair[0], $visit['isByProxy']));
        return [
            ['Host', $visit['host']],
            ['X-Forwarded-For', $visit['address']],
            ['X-Forwarded-Proto', $visit['isHttps'] ? 'https' : 'http'],
            ...array_values($handedOn),
        ];
    }

    /**
     * @param array<string, mixed> $visit
     * @return list<array{string, string}>
     */
    private static function original(array $visit): array
    {
        $own = [['X-Original-URI', $visit['target']], ['X-Original-Method', $visit['method']]];
        return [...self::about($visit), ...$own];
    }

    /** The gate's answer, for a visitor: its forms lead to the script that was asked for, where PHP is reached for sure. */
    private static function reply(Answer $answer, string $script): Answer
    {
        $isSent = static fn (array $pair): bool => !in_array(strtolower($pair[0]), self::UNSENT, true);
        // Browsers take `//x` and `/\x` for the host x.
        $isLocal = preg_match('~^/(?![/\\\\])~', $script) === 1 && !self::isOwn($script);
        $body = $answer->body;
        if ($isLocal && str_starts_with($answer->header('content-type') ?? '', 'text/html')) {
            $way = htmlspecialchars($script . '?' . self::OWN_QUERY, ENT_QUOTES);
            // No visitor can have written this: pages escape quotes.
            $form = '~ action="' . self::OWN_PATH . '([a-z-]{1,32})"~';
            $body = preg_replace_callback($form, static fn (array $found) => " action=\"$way$found[1]\"", $body) ?? $body;
        }
        return new Answer($answer->status, array_values(array_filter($answer->headers, $isSent)), $body);
    }

    private static function refused(): Answer
    {
        return self::plain(403, "Access refused\n");
    }

    private static function unavailable(): Answer
    {
        return self::plain(503, "Unavailable: try again in a moment\n", [['Retry-After', '1']]);
    }

    /** @param list<array{string, string}> $more */
    private static function plain(int $status, string $text, array $more = []): Answer
    {
        $headers = [['Content-Type', 'text/plain; charset=utf-8'], ['Cache-Control', 'no-store'], ...$more];
        return new Answer($status, $headers, $text);
    }

    /** The body; null if it has more bytes, or PHP has taken it apart, which it does with `multipart/form-data`. */
    private static function input(int $most): ?string
    {
        // Null where nothing says how long it is.
        $announced = isset($_SERVER['HTTP_TRANSFER_ENCODING']) ? null : (int) ($_SERVER['CONTENT_LENGTH'] ?? 0);
        if ($announced > $most) {
            return null;
        }
        $body = (string) file_get_contents('php://input', false, null, 0, $most + 1);
        if ($body === '' && ($_POST !== [] || $_FILES !== [])) {
            return null;
        }
        return strlen($body) === ($announced ?? strlen($body)) && strlen($body) <= $most ? $body : null;
    }

    private static function send(Answer $answer): void
    {
        $seen = [];
        foreach ($answer->headers as [$name, $value]) {
            header("$name: $value", !isset($seen[strtolower($name)]));
            $seen[strtolower($name)] = true;
        }
        http_response_code($answer->status);
        if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'HEAD') {
            echo $answer->body;
        }
    }
}
