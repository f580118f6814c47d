<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** What is to be done with a visitor. */
enum Action: string
{
    /** It goes on. */
    case Pass = 'pass';
    /** It goes on, and the application may want to know why it is told. */
    case Header = 'header';
    /** It is refused. */
    case Ban = 'ban';
    /** It has to answer a challenge. */
    case Captcha = 'captcha';
    /** It comes too often. */
    case Throttle = 'throttle';
    /** It may not do this. */
    case Restrict = 'restrict';
    /** It has to show a second factor. Where it passes all the same, it is for the application to ask for it. */
    case Mfa = 'mfa';
    /** It is refused because nothing can be looked up. */
    case Unavailable = 'unavailable';
    /** It is refused, for a reason that this version does not know. */
    case Stop = 'stop';

    /** The action of an outcome, where the decision that leads to it is of this kind. */
    public static function of(bool $passes, string $outcome, ?string $kind): self
    {
        if ($passes) {
            return ['marked' => self::Header, 'mfa' => self::Mfa][$outcome] ?? self::Pass;
        }
        $isNew = !in_array($outcome, Verdict::PASSING, true);
        return match ($outcome) {
            'banned' => self::Ban,
            'challenged' => self::Captcha,
            'unconfirmed', 'unidentified' => self::Mfa,
            'throttled' => self::Throttle,
            'restricted' => self::Restrict,
            'unavailable' => self::Unavailable,
            default => $kind === 'mfa' && $isNew ? self::Mfa : self::Stop,
        };
    }
}
