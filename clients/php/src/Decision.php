<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** A decision about an address. */
final class Decision
{
    /**
     * @param string $type such as `ban`, `captcha`
     * @param string $origin who decided
     * @param string $scenario why
     * @param ?int $seconds how long it holds on; null where the gate does not say, which is so in a guard
     */
    public function __construct(
        public readonly int $id,
        public readonly string $type,
        public readonly string $origin,
        public readonly string $scenario,
        public readonly ?int $seconds,
    ) {
    }
}
