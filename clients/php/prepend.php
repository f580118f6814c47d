<?php
// Guards any PHP site: name this file in `auto_prepend_file`. What has to be said stands in the environment (`fastcgi_param`
// of nginx, `SetEnv` of Apache, `env[…]` of FPM), see Guard::fromEnvironment().

declare(strict_types=1);

// Commands and scheduled jobs have no visitors.
if (!in_array(PHP_SAPI, ['cli', 'phpdbg', 'embed'], true)) {
    require_once __DIR__ . '/autoload.php';
    \Testudo\Gate\Guard::fromEnvironment()->protect();
}
