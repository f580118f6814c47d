<?php
// check.php PLACE ADDRESS: says what is to be done with an address; ends with 0 if it passes.

declare(strict_types=1);

require __DIR__ . '/../autoload.php';

[, $place, $address] = $argv;
$verdict = (new Testudo\Gate\Gate('closed', $place))->check($address);
echo $verdict->action->value, ': ', $verdict->failure ?? $verdict->outcome, "\n";
exit($verdict->passes ? 0 : 1);
