<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** Holds up to so many verdicts as long as the process lives. The one that was stored first goes first. */
final class MemoryCache implements Cache, \Countable
{
    /** @var array<string, array{float, Verdict}> */
    private array $held = [];

    public function __construct(private readonly int $size = 10_000)
    {
    }

    public function get(string $key): ?Verdict
    {
        [$end, $verdict] = $this->held[$key] ?? [0.0, null];
        return $end > hrtime(true) / 1e9 ? $verdict : null;
    }

    public function set(string $key, Verdict $verdict, float $seconds): void
    {
        unset($this->held[$key]);
        if ($this->size > 0) {
            $this->held[$key] = [hrtime(true) / 1e9 + $seconds, $verdict];
        }
        if (count($this->held) > $this->size) {
            unset($this->held[array_key_first($this->held)]);
        }
    }

    public function count(): int
    {
        return count($this->held);
    }
}
