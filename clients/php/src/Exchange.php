<?php

declare(strict_types=1);

namespace Testudo\Gate;

/**
 * One question to the gate, and its answer, by HTTP/1.0: a connection for each, which ends with the answer.
 *
 * What is read is bounded and strict: an answer that does not say how long it is, or is shorter, is none.
 *
 * @internal
 */
final class Exchange
{
    /** The longest head of an answer, in bytes. */
    private const MAX_HEAD = 64 << 10;

    /** The longest body of an answer, in bytes: a page with a form of 64 KiB in it, each byte as an entity of six. */
    private const MAX_BODY = 1 << 20;

    /** The longest head of a question, in bytes, and the most headers in it. The gate takes 64 KiB and 128. */
    private const MAX_QUESTION = 60 << 10;
    private const MAX_QUESTION_HEADERS = 120;

    private readonly string $place;

    /**
     * @param string $place an address with a port, or the path of a socket
     * @param float $timeout for a whole question, in seconds
     * @throws \InvalidArgumentException for what is no place
     */
    public function __construct(string $place, private readonly float $timeout)
    {
        if (str_starts_with($place, '/')) {
            $this->place = "unix://$place";
            return;
        }
        $shape = '/^(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})$/D';
        if (preg_match($shape, $place, $found) !== 1 || (int) $found[1] < 1 || (int) $found[1] > 65_535) {
            throw new \InvalidArgumentException(
                "the gate's place: \"$place\" is neither like 127.0.0.1:9740 nor the path of a socket"
            );
        }
        $this->place = "tcp://$place";
    }

    /**
     * Asks, and waits for the answer. What the gate would not take is not sent, and answered as the gate would: to send it would
     * be to have the connection broken off.
     *
     * @param list<array{string, string}> $headers
     * @throws GateError
     */
    public function ask(string $method, string $target, array $headers, string $body = ''): Answer
    {
        $head = self::questionHead($method, $target, $headers, $body);
        // One header may be the length of the body.
        if (strlen($head) > self::MAX_QUESTION || count($headers) + 1 > self::MAX_QUESTION_HEADERS) {
            return new Answer(431, [], '');
        }
        $end = hrtime(true) / 1e9 + $this->timeout;
        $connection = @stream_socket_client($this->place, $_, $reason, $this->timeout);
        if ($connection === false) {
            throw new GateError("the gate cannot be asked: $reason");
        }
        try {
            stream_set_blocking($connection, false);
            $this->send($connection, $head . $body, $end);
            return $this->read($connection, $end);
        } finally {
            fclose($connection);
        }
    }

    /** @param list<array{string, string}> $headers */
    private static function questionHead(string $method, string $target, array $headers, string $body): string
    {
        $lines = ["$method $target HTTP/1.0"];
        foreach ($headers as [$name, $value]) {
            // Control characters, which no server lets through, become `?`.
            $lines[] = "$name: " . preg_replace('/[\x00-\x08\x0a-\x1f\x7f]/', '?', $value);
        }
        if ($body !== '' || $method === 'POST') {
            $lines[] = 'Content-Length: ' . strlen($body);
        }
        return implode("\r\n", $lines) . "\r\n\r\n";
    }

    /** @param resource $connection */
    private function send($connection, string $question, float $end): void
    {
        while ($question !== '') {
            $this->wait($connection, $end, false);
            $sent = @fwrite($connection, $question);
            if ($sent === false) {
                // Who refuses a question may have said so before all of it was there.
                return;
            }
            $question = substr($question, $sent);
        }
    }

    /** @param resource $connection */
    private function read($connection, float $end): Answer
    {
        $bytes = '';
        $head = null;
        while (true) {
            $this->wait($connection, $end, true);
            $data = @fread($connection, 64 << 10);
            $bytes .= $data;
            if ($head === null) {
                $at = strpos(substr($bytes, 0, self::MAX_HEAD), "\r\n\r\n");
                if ($at !== false) {
                    $head = self::head(substr($bytes, 0, $at));
                    $bytes = substr($bytes, $at + 4);
                } elseif (strlen($bytes) >= self::MAX_HEAD) {
                    throw new GateError("the head of the gate's answer is too long");
                }
            }
            if ($head !== null && strlen($bytes) >= $head[2]) {
                return new Answer($head[0], $head[1], substr($bytes, 0, $head[2]));
            }
            if (($data === false || $data === '') && feof($connection)) {
                throw new GateError("the gate's answer is cut off");
            }
        }
    }

    /**
     * @return array{int, list<array{string, string}>, int} status, headers, length
     */
    private static function head(string $head): array
    {
        $lines = explode("\r\n", $head);
        if (preg_match('~^HTTP/1\.[01] ([2-5][0-9][0-9])(?: [^\r\n\0]*)?$~D', array_shift($lines), $status) !== 1) {
            throw new GateError("the gate's answer is not HTTP");
        }
        $headers = [];
        $lengths = [];
        $isCoded = false;
        foreach ($lines as $line) {
            if (preg_match('/^([!#$%&\'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*$/D', $line, $found) !== 1) {
                throw new GateError("the gate's answer is not HTTP");
            }
            $headers[] = [$found[1], $found[2]];
            $isCoded = $isCoded || strtolower($found[1]) === 'transfer-encoding';
            if (strtolower($found[1]) === 'content-length') {
                $lengths[] = $found[2];
            }
        }
        $isLength = count($lengths) === 1 && preg_match('/^[0-9]{1,7}$/D', $lengths[0]) === 1;
        if ($isCoded || !$isLength || (int) $lengths[0] > self::MAX_BODY) {
            throw new GateError("the gate's answer does not say how long it is, or is too long");
        }
        return [(int) $status[1], $headers, (int) $lengths[0]];
    }

    /** @param resource $connection */
    private function wait($connection, float $end, bool $isReading): void
    {
        $left = $end - hrtime(true) / 1e9;
        $read = $isReading ? [$connection] : null;
        $write = $isReading ? null : [$connection];
        $none = null;
        if ($left <= 0 || @stream_select($read, $write, $none, (int) $left, (int) (fmod($left, 1) * 1e6)) === 0) {
            throw new GateError('the gate cannot be asked: it takes too long');
        }
    }
}
