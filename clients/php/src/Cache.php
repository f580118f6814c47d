<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** Where verdicts are held for a moment. */
interface Cache
{
    /** What is held, or null. */
    public function get(string $key): ?Verdict;

    /** Holds a verdict for so many seconds. */
    public function set(string $key, Verdict $verdict, float $seconds): void;
}
