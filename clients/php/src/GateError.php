<?php

declare(strict_types=1);

namespace Testudo\Gate;

/** The gate did not answer, or not as a gate does. */
final class GateError extends \RuntimeException
{
}
