<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** A gate, and what holds while it cannot be asked. */
final class Gate
{
    private readonly Exchange $exchange;
    private readonly bool $isOpen;
    private readonly Cache $cache;

    /** What verdicts of one gate and one policy have in common. */
    private readonly string $key;

    /**
     * @param string $fail has to be said: `open` lets everybody pass while the gate cannot be asked, `closed` nobody
     * @param string $place where the gate listens: an address with a port, or the path of a socket
     * @param float $timeout for a whole question, in seconds; a name is looked up beside it
     * @param float $cacheSeconds how long a verdict holds
     * @param ?Cache $cache where verdicts are held: APCu if it is there, else 10 000 in this process
     * @throws \InvalidArgumentException for what cannot be
     */
    public function __construct(
        string $fail,
        string $place = '127.0.0.1:9740',
        float $timeout = 0.5,
        private readonly float $cacheSeconds = 1.0,
        ?Cache $cache = null,
    ) {
        if ($fail !== 'open' && $fail !== 'closed') {
            throw new \InvalidArgumentException("fail: \"$fail\" is neither `open` nor `closed`");
        }
        if (!($timeout > 0 && $timeout <= 60)) {
            throw new \InvalidArgumentException('timeout: more than 0 and up to 60 seconds');
        }
        $this->exchange = new Exchange($place, $timeout);
        $this->isOpen = $fail === 'open';
        $this->cache = $cache ?? (ApcuCache::isThere() ? new ApcuCache() : new MemoryCache());
        $this->key = "$fail $place ";
    }

    /**
     * What is to be done with an address, a user, or both; counts nothing. Throws nothing for what the gate does.
     *
     * @throws \InvalidArgumentException for what is no address, and where there is neither
     */
    public function check(
        ?string $address = null,
        string $host = '',
        string $method = 'GET',
        string $target = '/',
        string $user = '',
    ): Verdict {
        $usual = $address === null ? null : Proxies::usual($address);
        if ($address !== null && $usual === null) {
            throw new \InvalidArgumentException("\"$address\" is no address");
        }
        if ($usual === null && $user === '') {
            throw new \InvalidArgumentException('name an address, a user, or both');
        }
        // What is null is left out.
        $who = ['ip' => $usual, 'user' => $user === '' ? null : $user];
        $query = http_build_query($who + ['host' => $host, 'method' => $method, 'target' => $target], '', '&');
        // Of one length, however long what a visitor asks for is.
        $key = hash('sha256', $this->key . $query);
        $held = $this->cache->get($key);
        if ($held !== null) {
            return $held;
        }
        try {
            $verdict = Verdict::ofCheck($this->ask('GET', "/check?$query", [['Host', 'gate']]), $user !== '');
        } catch (GateError $error) {
            return $this->failed($error);
        }
        if ($verdict->outcome !== Verdict::REFUSED_QUESTION) {
            $this->cache->set($key, $verdict, $this->cacheSeconds);
        }
        return $verdict;
    }

    /**
     * Asks a question of a guard.
     *
     * @internal
     * @param list<array{string, string}> $headers
     * @throws GateError
     */
    public function ask(string $method, string $target, array $headers, string $body = ''): Answer
    {
        return $this->exchange->ask($method, $target, $headers, $body);
    }

    /**
     * What holds while the gate cannot be asked; the log is told.
     *
     * @internal
     */
    public function failed(GateError $error): Verdict
    {
        error_log("testudo: {$error->getMessage()}; visitors are " . ($this->isOpen ? 'let pass' : 'refused'));
        return Verdict::ofFailure($this->isOpen, $error->getMessage());
    }
}
