<?php
// Tests without a framework: `php tests/run.php`. Each function is one; those that need a gate or the stand-in
// (tests/clients/stand_in) find them in TESTUDO_GATE and TESTUDO_STAND_IN, and say so where they are not there.

declare(strict_types=1);

use Testudo\Gate\{Action, Answer, ApcuCache, Exchange, Gate, GateError, Guard, MemoryCache, Proxies, Verdict};

require __DIR__ . '/../autoload.php';
error_reporting(E_ALL);
set_error_handler(static function (int $kind, string $words, string $file, int $line): bool {
    // What is silenced by `@` is not told.
    return error_reporting() & $kind ? throw new ErrorException($words, 0, $kind, $file, $line) : true;
});
ini_set('error_log', '/dev/null');

final class Skipped extends Exception
{
}

function equal(mixed $found, mixed $expected, string $what): void
{
    if ($found !== $expected) {
        throw new Exception("$what: " . var_export($found, true) . ' instead of ' . var_export($expected, true));
    }
}

/** @param class-string<Throwable> $kind */
function throws(callable $act, string $kind, string $what): void
{
    try {
        $act();
    } catch (Throwable $error) {
        equal($error::class, $kind, $what);
        return;
    }
    throw new Exception("$what: nothing is thrown");
}

function vectors(): stdClass
{
    return json_decode((string) file_get_contents(__DIR__ . '/../../vectors.json'), flags: JSON_THROW_ON_ERROR);
}

function env(string $name): string
{
    return getenv($name) ?: throw new Skipped("no $name");
}

/** @return array<string, mixed> */
function shown(Verdict $verdict): array
{
    return [
        'passes' => $verdict->passes,
        'action' => $verdict->action->value,
        'outcome' => $verdict->outcome,
        'decision' => $verdict->decision ? get_object_vars($verdict->decision) : null,
        'decisions' => count($verdict->decisions),
    ];
}

function test_addresses(): void
{
    foreach (vectors()->addresses as $case) {
        $proxies = new Proxies($case->proxies ?? vectors()->proxies);
        equal($proxies->client($case->peer, $case->forwarded_for), $case->client, $case->name);
    }
}

function test_bad_words(): void
{
    foreach (vectors()->bad_proxies as $entry) {
        throws(static fn () => new Proxies([$entry]), InvalidArgumentException::class, "the proxy `$entry`");
    }
    foreach (vectors()->bad_places as $entry) {
        throws(static fn () => new Exchange($entry, 1), InvalidArgumentException::class, "the place `$entry`");
    }
    throws(static fn () => new Gate('maybe'), InvalidArgumentException::class, 'a policy');
    throws(static fn () => new Gate('open', timeout: NAN), InvalidArgumentException::class, 'a timeout');
    throws(static fn () => (new Gate('open'))->check('192.0.2'), InvalidArgumentException::class, 'an address');
    throws(static fn () => (new Gate('open'))->check(), InvalidArgumentException::class, 'nobody');
    throws(static fn () => Guard::fromEnvironment(), InvalidArgumentException::class, 'a guard of which nothing is said');
}

function test_checks(): void
{
    foreach (vectors()->checks as $case) {
        $read = static fn () => Verdict::ofCheck(new Answer($case->status, [], $case->body), isset($case->user));
        if ($case->verdict === 'failure') {
            throws($read, GateError::class, $case->name);
        } else {
            $expected = (array) $case->verdict;
            $expected['decision'] = $expected['decision'] ? (array) $expected['decision'] : null;
            equal(shown($read()), $expected, $case->name);
        }
    }
}

function test_failures(): void
{
    foreach (vectors()->failures as $case) {
        $found = shown(Verdict::ofFailure($case->fail === 'open', 'why'));
        equal(array_merge($found, (array) $case->verdict), $found, $case->fail);
    }
}

function test_answers_to_guards(): void
{
    foreach (vectors()->gate_answers as $case) {
        $headers = $case->outcome === null ? [] : [['X-Testudo-Outcome', $case->outcome]];
        $read = static fn () => Guard::judge(new Answer($case->status, $headers, ''));
        $what = "$case->status $case->outcome";
        match ($case->result) {
            'failure' => throws($read, GateError::class, $what),
            'pass' => equal($read()[0]->passes, true, $what),
            'refused' => equal($read(), null, $what),
            'stop' => equal($read(), $case->outcome, $what),
        };
    }
}

function test_pages(): void
{
    foreach (vectors()->pages as $case) {
        $headers = $case->outcome === null ? [] : [['X-Testudo-Outcome', $case->outcome]];
        equal(Guard::isPage(new Answer($case->status, $headers, '')), $case->page, "$case->status $case->outcome");
    }
}

function test_forms(): void
{
    foreach (vectors()->forms as $case) {
        equal(Guard::hasForm($case->method, $case->type), $case->is_sent, "$case->method $case->type");
    }
}

function test_kept_forms(): void
{
    $guard = new Guard(new Gate('closed', env('TESTUDO_GATE')));
    foreach (vectors()->kept_forms as $case) {
        $more = ['REMOTE_ADDR' => '192.0.2.11', 'HTTP_ACCEPT' => 'text/html', 'HTTP_ORIGIN' => 'http://example.org'];
        $server = $more + ['CONTENT_TYPE' => $case->type] + server('example.org', '/', 'POST');
        $page = $guard->judgeRequest($server, static fn () => $case->body);
        $seen = [str_contains($page->body, 'name="form"'), str_contains($page->body, 'could not be kept')];
        equal($seen, [true, false], $case->type);
    }
}

function test_own_paths_and_headers(): void
{
    foreach (vectors()->own_paths as $case) {
        equal(Guard::isOwn($case->target), $case->own, $case->target);
    }
    $lists = ['handed_on' => [false, false], 'handed_on_from_proxies' => [true, false], 'kept_back' => [true, true]];
    foreach ($lists as $list => $expected) {
        foreach (vectors()->headers->$list as $name) {
            equal([Guard::isKeptBack($name, false), Guard::isKeptBack($name, true)], $expected, $name);
        }
    }
}

function test_memory_is_bounded(): void
{
    $cache = new MemoryCache(3);
    $verdict = Verdict::ofFailure(true, 'x');
    foreach (range(1, 9) as $number) {
        $cache->set("k$number", $verdict, 60);
    }
    equal(count($cache), 3, 'the size');
    equal($cache->get('k9'), $verdict, 'the last');
    equal($cache->get('k6'), null, 'one of the first');
    $cache->set('k9', $verdict, 0);
    equal($cache->get('k9'), null, 'one whose time is over');
    $none = new MemoryCache(0);
    $none->set('k', $verdict, 60);
    equal(count($none), 0, 'no size');
}

function test_shared_memory(): void
{
    ApcuCache::isThere() || throw new Skipped('no APCu; -d apc.enable_cli=1');
    $cache = new ApcuCache('test:' . getmypid() . ':');
    $verdict = Verdict::ofCheck(new Answer(200, [], vectors()->checks[1]->body), false);
    $cache->set('k', $verdict, 60);
    equal(shown($cache->get('k') ?? Verdict::ofFailure(true, 'x')), shown($verdict), 'what is held');
    $cache->set('never', $verdict, 0);
    equal($cache->get('never'), null, 'what is not');
}

function test_what_the_gate_would_not_take(): void
{
    // Nobody listens: what is sent is a failure, by which everybody passes.
    $cache = new MemoryCache();
    $gate = new Gate('open', '127.0.0.1:1', cache: $cache);
    foreach (vectors()->questions->targets as $case) {
        $verdict = $gate->check('192.0.2.1', target: str_pad('/', $case->length, 'a'));
        equal([$verdict->passes, $verdict->outcome], $case->is_sent ? [true, 'unchecked'] : [false, 'refused'], "$case->length letters");
    }
    equal(count($cache), 0, 'what was refused is not held');
    $ask = static fn (array $headers): bool => is_array((new Guard($gate))->judgeRequest($headers + server('x'), static fn () => ''));
    foreach (vectors()->questions->cookies as $case) {
        equal($ask(['HTTP_COOKIE' => str_repeat('a', $case->length)]), $case->is_sent, "a cookie of $case->length");
    }
    foreach (vectors()->questions->headers as $case) {
        $names = array_map(static fn (int $number) => "HTTP_ACCEPT_$number", range(1, $case->count));
        equal($ask(array_fill_keys($names, 'x')), $case->is_sent, "$case->count headers");
    }
}

function test_an_answer_before_the_end_of_the_question(): void
{
    $exchange = new Exchange(env('TESTUDO_STAND_IN'), 5);
    foreach (range(1, 20) as $_) {
        $answer = $exchange->ask('POST', '/', [['Host', 'early.fault']], str_repeat('a', 8 << 20));
        equal($answer->status, 200, 'the answer');
    }
}

function test_faults(): void
{
    $place = env('TESTUDO_STAND_IN');
    $good = (new Gate('closed', $place))->check('192.0.2.1', 'ok.fault');
    equal([$good->passes, $good->failure], [true, null], 'the stand-in answers well if it is asked to');
    foreach (vectors()->faults as $fault) {
        $where = $fault === 'refuse' ? '127.0.0.1:1' : $place;
        foreach (['closed' => false, 'open' => true] as $fail => $passes) {
            $verdict = (new Gate($fail, $where, 0.3))->check('192.0.2.1', "$fault.fault");
            equal([$verdict->passes, $verdict->failure !== null], [$passes, true], "$fault, $fail");
        }
    }
}

/** @return array<string, string> */
function server(string $host, string $target = '/', string $method = 'GET'): array
{
    return ['REMOTE_ADDR' => '192.0.2.1', 'REQUEST_METHOD' => $method, 'REQUEST_URI' => $target, 'HTTP_HOST' => $host];
}

function test_faults_of_a_guard(): void
{
    $place = env('TESTUDO_STAND_IN');
    $ask = static function (string $fail, string $where, array $server): int {
        $found = (new Guard(new Gate($fail, $where, 0.3)))->judgeRequest($server, static fn () => '');
        return $found instanceof Answer ? $found->status : 200;
    };
    equal($ask('closed', $place, server('ok.fault')), 200, 'the stand-in');
    foreach (vectors()->faults as $fault) {
        $where = $fault === 'refuse' ? '127.0.0.1:1' : $place;
        equal($ask('closed', $where, server("$fault.fault")), 503, "$fault, closed");
        equal($ask('open', $where, server("$fault.fault")), 200, "$fault, open");
        equal($ask('open', $where, server("$fault.fault", '/.well-known/testudo/answer', 'POST')) === 200, $fault === 'utf8' || $fault === 'html', "$fault, an answer");
        equal($ask('open', $place, server("page-$fault.fault")), 403, "$fault, where the page is asked for");
    }
}

function test_what_is_held(): void
{
    $place = env('TESTUDO_STAND_IN');
    $gate = new Gate('closed', $place, 2, 60, new MemoryCache());
    $host = 'count-php' . getmypid() . '.fault';
    $seen = array_map(static fn () => $gate->check('192.0.2.1', $host)->decision?->seconds, range(1, 3));
    equal($seen, [1, 1, 1], 'the same question');
    equal($gate->check('::ffff:192.0.2.1', $host)->decision?->seconds, 1, 'the same address');
    equal($gate->check('192.0.2.1', $host, target: '/x')->decision?->seconds, 2, 'another question');
    $gate = new Gate('closed', $place, 2, 0, new MemoryCache());
    $seen = array_map(static fn () => $gate->check('192.0.2.1', $host)->decision?->seconds, range(1, 2));
    equal($seen, [3, 4], 'nothing is held');
}

function test_a_real_gate(): void
{
    $gate = new Gate('closed', env('TESTUDO_GATE'));
    $action = static fn (string $address, mixed ...$more): Action => $gate->check($address, ...$more)->action;
    equal($action('192.0.2.9'), Action::Pass, 'a stranger');
    equal($action('192.0.2.10'), Action::Ban, 'a ban');
    equal($action('::ffff:192.0.2.10'), Action::Ban, 'a ban, mapped');
    equal($action('2001:db8::7'), Action::Ban, 'a ban of a network');
    equal($action('192.0.2.11'), Action::Captcha, 'a challenge');
    equal($action('192.0.2.13', method: 'POST'), Action::Restrict, 'a restriction');
    equal($action('192.0.2.13', target: '/a?b=c&d'), Action::Pass, 'what may be read');
    equal($action('192.0.2.14'), Action::Header, 'a mark');
    equal($action('192.0.2.15'), Action::Pass, 'a friend');
    equal($action('192.0.2.17') === Action::Pass, false, 'a second factor');
    foreach (['192.0.2.9', null] as $address) {
        equal($gate->check($address, user: 'Alice')->action, Action::Ban, 'a user');
        equal($gate->check($address, user: 'bob')->action, Action::Pass, 'another');
    }
    $verdict = $gate->check('192.0.2.10');
    equal([$verdict->decision?->type, $verdict->decision?->origin, $verdict->decision?->scenario], ['ban', 'local', 'example/probing'], 'why');
    foreach (vectors()->questions->targets as $case) {
        $target = str_pad('/', $case->length, 'a');
        equal($gate->check('192.0.2.9', target: $target)->passes, $case->is_sent, "$case->length letters");
    }
    $socket = new Gate('closed', env('TESTUDO_GATE_SOCKET'));
    equal($socket->check('192.0.2.10')->action, Action::Ban, 'over a socket');
}

function test_peers(): void
{
    $gate = new Gate('closed', env('TESTUDO_GATE'));
    $status = static function (string $peer, string ...$proxies) use ($gate): int {
        $server = ['REMOTE_ADDR' => $peer, 'HTTP_X_FORWARDED_FOR' => '192.0.2.9, 192.0.2.10'] + server('example.org');
        $found = (new Guard($gate, $proxies))->judgeRequest($server, static fn () => '');
        return $found instanceof Answer ? $found->status : 200;
    };
    equal($status('127.0.0.1', '127.0.0.1'), 403, 'a proxy');
    equal($status('127.0.0.1'), 200, 'a claim');
    equal($status('unix:', 'unix'), 403, 'a proxy on a socket');
    equal($status('unix:'), 500, 'a socket');
    equal($status('', 'unix'), 500, 'a peer of whom nothing is known');
}

function test_where_forms_lead(): void
{
    $guard = new Guard(new Gate('closed', env('TESTUDO_GATE')));
    $action = static function (string $target) use ($guard): string {
        $server = ['REMOTE_ADDR' => '192.0.2.11', 'HTTP_ACCEPT' => 'text/html'] + server('example.org', $target);
        $found = $guard->judgeRequest($server, static fn () => '');
        equal($found instanceof Answer && $found->status === 403, true, $target);
        equal(preg_match_all('/ action="([^"]*)"/', $found->body, $actions), 1, "one form at $target");
        return $actions[1][0];
    };
    equal($action('/shop.php?a=1'), '/shop.php?testudo-gate=answer', 'to the script');
    equal($action('/a"b\'<?x'), '/a&quot;b&#039;&lt;?testudo-gate=answer', 'escaped');
    equal($action("/\u{e9}"), '/%C3%A9?testudo-gate=answer', 'letters');
    foreach (['//evil.example/x', '/\\evil.example/x', 'http://evil.example/x'] as $target) {
        equal($action($target), '/.well-known/testudo/answer', "not to another host: $target");
    }
}

function test_what_is_meant_for_the_gate(): void
{
    $guard = new Guard(new Gate('closed', env('TESTUDO_GATE')));
    $ask = static fn (string $method, string $query): Answer|array => $guard->judgeRequest(
        ['QUERY_STRING' => $query, 'CONTENT_TYPE' => 'application/x-www-form-urlencoded'] + server('example.org', "/x?$query", $method),
        static fn () => 'challenge=x',
    );
    equal($ask('POST', 'testudo-gate=answer') instanceof Answer, true, 'an answer');
    equal($ask('POST', 'testudo-gate=nonsense') instanceof Answer, true, 'another path of the gate, with nothing on it');
    foreach ([['GET', 'testudo-gate=answer'], ['POST', 'testudo-gate=../auth'], ['POST', 'a&testudo-gate=answer']] as [$method, $query]) {
        equal(is_array($ask($method, $query)), true, "$method $query is the site's");
    }
}

$code = 0;
foreach (array_filter(get_defined_functions()['user'], static fn (string $name) => str_starts_with($name, 'test_')) as $test) {
    try {
        $test();
        echo "ok       $test\n";
    } catch (Skipped $why) {
        echo "skipped  $test: {$why->getMessage()}\n";
    } catch (Throwable $error) {
        echo "FAILED   $test: {$error->getMessage()} ({$error->getFile()}:{$error->getLine()})\n";
        $code = 1;
    }
}
exit($code);
