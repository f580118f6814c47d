<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** What the gate answered, or what a visitor is answered. */
final class Answer
{
    /** @param list<array{string, string}> $headers names and values */
    public function __construct(
        public readonly int $status,
        public readonly array $headers,
        public readonly string $body,
    ) {
    }

    /** The first value of a header, by its name in small letters. */
    public function header(string $wanted): ?string
    {
        foreach ($this->headers as [$name, $value]) {
            if (strtolower($name) === $wanted) {
                return $value;
            }
        }
        return null;
    }
}
