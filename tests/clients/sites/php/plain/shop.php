<?php
// One script among others, that tells what it got: no other path leads to PHP. The guard comes by `auto_prepend_file`.
header('Content-Type: application/json');
echo json_encode([
    'method' => $_SERVER['REQUEST_METHOD'],
    'target' => $_SERVER['REQUEST_URI'],
    'body' => file_get_contents('php://input'),
    'outcome' => $_SERVER['HTTP_X_TESTUDO_OUTCOME'] ?? null,
    'forged' => ($_SERVER['HTTP_X_TESTUDO_SCENARIO'] ?? null ?: null) ?? $_SERVER['HTTP_X_TESTUDO_NEW'] ?? null,
]);
