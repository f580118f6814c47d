<?php

declare(strict_types=1);

namespace Testudo\Gate;

/**
 * The proxies whose word about a client counts.
 *
 * Anybody can send `X-Forwarded-For`. So it counts only if the peer that sent it is trusted, and of its hops only those that
 * trusted peers wrote: from the right up to the first address that is not a trusted proxy.
 */
final class Proxies
{
    /** The most hops that are looked at. */
    private const MAX_HOPS = 32;

    /** What stands before an IPv4 address in IPv6. */
    private const MAPPED = "\0\0\0\0\0\0\0\0\0\0\xff\xff";

    /** @var list<array{string, int}> bytes and bits */
    private array $ranges = [];
    private bool $trustsSockets = false;

    /**
     * @param iterable<string> $trusted addresses, ranges, and `unix` for peers on a socket in the file system
     * @throws \InvalidArgumentException for what is none of them
     */
    public function __construct(iterable $trusted = [])
    {
        foreach ($trusted as $entry) {
            if ($entry === 'unix') {
                $this->trustsSockets = true;
            } else {
                $this->ranges[] = self::range($entry);
            }
        }
    }

    /** Whether the word of a peer counts. */
    public function trusts(string $peer): bool
    {
        if ($peer === 'unix') {
            return $this->trustsSockets;
        }
        $address = self::parse($peer);
        return $address !== null && $this->has($address);
    }

    /**
     * The client's address, IPv4 never in its mapped form; null where nobody can say.
     *
     * @param string $peer the address at the other end of the connection, or `unix`
     * @param list<string> $forwardedFor the lines of `X-Forwarded-For` in their order
     */
    public function client(string $peer, array $forwardedFor): ?string
    {
        $last = self::parse($peer);
        if ($forwardedFor !== [] && $this->trusts($peer)) {
            $hops = array_reverse(explode(',', implode(',', $forwardedFor)));
            foreach (array_slice($hops, 0, self::MAX_HOPS) as $text) {
                $hop = self::parseHop($text);
                // What stands left of one that cannot be read is worth nothing.
                if ($hop === null) {
                    break;
                }
                $last = $hop;
                if (!$this->has($hop)) {
                    break;
                }
            }
        }
        return $last === null ? null : inet_ntop($last);
    }

    /** An address in its usual form, without its zone, IPv4 never in its mapped form; null for what is none. */
    public static function usual(string $text): ?string
    {
        $address = self::parse($text);
        return $address === null ? null : inet_ntop($address);
    }

    private function has(string $address): bool
    {
        foreach ($this->ranges as [$bytes, $bits]) {
            if (strlen($bytes) === strlen($address) && self::starts($address, $bytes, $bits)) {
                return true;
            }
        }
        return false;
    }

    /** Whether two addresses begin with the same bits. */
    private static function starts(string $one, string $other, int $bits): bool
    {
        $whole = intdiv($bits, 8);
        $rest = (0xff << (8 - $bits % 8)) & 0xff;
        return substr($one, 0, $whole) === substr($other, 0, $whole)
            && ($rest === 0 || ((ord($one[$whole]) ^ ord($other[$whole])) & $rest) === 0);
    }

    /** An address as bytes, four or sixteen. */
    private static function parse(string $text): ?string
    {
        $address = self::read($text);
        return $address !== null && str_starts_with($address, self::MAPPED) ? substr($address, 12) : $address;
    }

    private static function read(string $text): ?string
    {
        [$bare, $zone] = explode('%', $text, 2) + [1 => null];
        $kind = $zone === null ? FILTER_FLAG_IPV4 | FILTER_FLAG_IPV6 : FILTER_FLAG_IPV6;
        // It forgives white space around an address.
        $isGood = $zone !== '' && trim($bare) === $bare && filter_var($bare, FILTER_VALIDATE_IP, $kind) !== false;
        $address = $isGood ? @inet_pton($bare) : false;
        return $address === false ? null : $address;
    }

    /** An address that may have a port: `192.0.2.1:443`, `[2001:db8::1]:443`. */
    private static function parseHop(string $given): ?string
    {
        $text = trim($given, " \t");
        $shape = '/^(?:\[([^\]]*:[^\]]*)\]|([^:[\]]*))(?::([0-9]{1,5}))?$/D';
        if (preg_match($shape, $text, $found, PREG_UNMATCHED_AS_NULL) !== 1) {
            return self::parse($text);
        }
        return (int) ($found[3] ?? 0) > 65_535 ? null : self::parse($found[1] ?? $found[2] ?? '');
    }

    /** @return array{string, int} */
    private static function range(string $entry): array
    {
        [$text, $given] = explode('/', $entry, 2) + [1 => null];
        $address = str_contains($text, '%') ? null : self::read($text);
        $most = 8 * strlen($address ?? '');
        $bits = $given ?? (string) $most;
        $skipped = $address !== null && str_starts_with($address, self::MAPPED) ? 12 : 0;
        $isLength = preg_match('/^[0-9]{1,3}$/D', $bits) === 1 && (int) $bits <= $most && (int) $bits >= 8 * $skipped;
        if ($address === null || !$isLength) {
            throw new \InvalidArgumentException(
                "trusted proxies: \"$entry\" is neither an address nor a range such as 10.0.0.0/8, nor `unix`"
            );
        }
        return [substr($address, $skipped), (int) $bits - 8 * $skipped];
    }
}
