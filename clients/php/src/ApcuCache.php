<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** Holds verdicts in the memory that the processes of a server share. APCu bounds it (`apc.shm_size`), and counts in seconds. */
final class ApcuCache implements Cache
{
    public function __construct(private readonly string $prefix = 'testudo-gate:')
    {
    }

    /** Whether there is such a memory here. */
    public static function isThere(): bool
    {
        return function_exists('apcu_enabled') && apcu_enabled();
    }

    public function get(string $key): ?Verdict
    {
        $verdict = apcu_fetch($this->prefix . $key);
        return $verdict instanceof Verdict ? $verdict : null;
    }

    public function set(string $key, Verdict $verdict, float $seconds): void
    {
        // 0 would be for ever.
        if ($seconds > 0) {
            apcu_store($this->prefix . $key, $verdict, max(1, (int) $seconds));
        }
    }
}
