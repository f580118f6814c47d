<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** What is to be done with a visitor, and why; read strictly: what is not understood passes nobody. */
final class Verdict
{
    /** Outcomes with which a request goes on. One that is not among them is a refusal, whatever else is said. */
    public const PASSING = ['clean', 'allowed', 'marked', 'passed', 'confirmed', 'mfa', 'slow', 'harmless', 'unchecked'];

    /** Statuses with which a question is refused for what is in it: the visitor's doing, and no failure of the gate. */
    public const REFUSED = [400, 413, 414, 431];

    /** The outcome of such a question. */
    public const REFUSED_QUESTION = 'refused';

    /** The largest number that JSON carries everywhere. */
    private const MAX_NUMBER = (1 << 53) - 1;

    /** The deepest answer. */
    private const MAX_DEPTH = 16;

    /**
     * @param bool $passes whether it goes on; nothing else says so
     * @param string $outcome the gate's own word, such as `clean`, `banned`, `challenged`
     * @param ?Decision $decision the decision that leads to it
     * @param list<Decision> $decisions all decisions about the address
     * @param ?string $failure why the gate could not be asked; then it is the fail policy that speaks
     */
    public function __construct(
        public readonly bool $passes,
        public readonly Action $action,
        public readonly string $outcome,
        public readonly ?Decision $decision = null,
        public readonly array $decisions = [],
        public readonly ?string $failure = null,
    ) {
    }

    /** What holds while the gate cannot be asked. */
    public static function ofFailure(bool $isOpen, string $failure): self
    {
        return $isOpen
            ? new self(true, Action::Pass, 'unchecked', failure: $failure)
            : new self(false, Action::Unavailable, 'unavailable', failure: $failure);
    }

    /**
     * Reads the answer to `/check`, which was asked about a user or not.
     *
     * @throws GateError
     */
    public static function ofCheck(Answer $answer, bool $namesUser): self
    {
        if (in_array($answer->status, self::REFUSED, true)) {
            return new self(false, Action::Stop, self::REFUSED_QUESTION);
        }
        if ($answer->status !== 200) {
            throw new GateError("the gate answers a check with {$answer->status}");
        }
        $found = json_decode($answer->body, false, self::MAX_DEPTH);
        $says = $found instanceof \stdClass ? get_object_vars($found) : [];
        $says += ['pass' => null, 'outcome' => null, 'decision' => false, 'decisions' => null];
        ['pass' => $pass, 'outcome' => $outcome, 'decision' => $number, 'decisions' => $list] = $says;
        $isGood = is_bool($pass) && is_string($outcome) && is_array($list);
        if (!$isGood || ($number !== null && !self::isNumber($number))) {
            throw self::unreadable();
        }
        $decisions = array_map(self::decision(...), array_values($list));
        $decision = null;
        foreach ($decisions as $entry) {
            $decision ??= $entry->id === $number ? $entry : null;
        }
        $passes = $pass && in_array($outcome, self::PASSING, true);
        // A gate that knows nothing of users says nothing of one, and so nothing about this one.
        if ($passes && $namesUser && !is_string($says['user'] ?? null)) {
            throw new GateError("the gate's answer says nothing about the user");
        }
        return new self($passes, Action::of($passes, $outcome, $decision?->type), $outcome, $decision, $decisions);
    }

    /** @throws GateError */
    private static function decision(mixed $entry): Decision
    {
        $says = $entry instanceof \stdClass ? get_object_vars($entry) : [];
        $says += ['id' => null, 'seconds' => null, 'type' => null, 'origin' => null, 'scenario' => null];
        ['type' => $type, 'origin' => $origin, 'scenario' => $scenario] = $says;
        $areTexts = is_string($type) && is_string($origin) && is_string($scenario);
        if (!$areTexts || !self::isNumber($says['id']) || !self::isNumber($says['seconds'])) {
            throw self::unreadable();
        }
        return new Decision($says['id'], $type, $origin, $scenario, $says['seconds']);
    }

    private static function isNumber(mixed $value): bool
    {
        return is_int($value) && $value >= 0 && $value <= self::MAX_NUMBER;
    }

    private static function unreadable(): GateError
    {
        return new GateError("the gate's answer to a check cannot be read");
    }
}
