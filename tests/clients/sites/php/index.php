<?php
// A site with one script for every path, that tells what it got. PHP's own server does not look at `auto_prepend_file` for it.
require __DIR__ . '/../../../../clients/php/prepend.php';
header('Content-Type: application/json');
echo json_encode([
    'method' => $_SERVER['REQUEST_METHOD'],
    'target' => $_SERVER['REQUEST_URI'],
    'body' => file_get_contents('php://input'),
    'outcome' => $_SERVER['HTTP_X_TESTUDO_OUTCOME'] ?? null,
    'forged' => ($_SERVER['HTTP_X_TESTUDO_SCENARIO'] ?? null ?: null) ?? $_SERVER['HTTP_X_TESTUDO_NEW'] ?? null,
]);
