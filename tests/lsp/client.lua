-- Drives Neovim's own client; says what it saw on standard error.

local function say(text)
  io.stderr:write(text .. '\n')
end

local function check(holds, what)
  if not holds then
    say('failed: ' .. what)
    vim.cmd('cquit 1')
  end
  say('ok: ' .. what)
end

local ok, problem = pcall(function()
  vim.cmd('edit ' .. vim.fn.fnameescape(vim.env.RULE))
  local client = vim.lsp.start_client({ name = 'testudo', cmd = { vim.env.TESTUDO, 'lsp' } })
  check(client ~= nil, 'the server starts')
  vim.lsp.buf_attach_client(0, client)
  check(vim.wait(20000, function()
    return vim.lsp.get_client_by_id(client).initialized
  end), 'it says what it can do')

  local function codes()
    local seen = {}
    for _, found in ipairs(vim.diagnostic.get(0)) do
      seen[tostring(found.code or found.user_data.lsp.code)] = found.lnum + 1
    end
    return seen
  end
  check(vim.wait(20000, function() return codes().R003 ~= nil end), 'findings come')
  check(codes().R003 == 7, 'the unknown key is in line 7')

  -- The key is mended: the other finding shows, and the first one goes.
  vim.api.nvim_buf_set_lines(0, 6, 7, false, { 'leakspeed: 10s' })
  check(vim.wait(20000, function() return codes().R003 == nil and codes().L014 == 4 end), 'findings follow what is typed')

  local function ask(method, line, column)
    local parameters = vim.lsp.util.make_position_params(0, 'utf-16')
    parameters.position = { line = line - 1, character = column }
    local answers = vim.lsp.buf_request_sync(0, method, parameters, 20000)
    local answer = answers and answers[client]
    return answer and answer.result
  end
  local hover = ask('textDocument/hover', 5, 2)
  check(hover and hover.contents.value:find('share a bucket'), 'hover tells what a key is for')

  vim.api.nvim_buf_set_lines(0, 3, 4, false, { "filter: evt.Meta." })
  local items = ask('textDocument/completion', 4, 17)
  local seen = {}
  for _, item in ipairs(items or {}) do seen[item.label] = true end
  check(seen.log_type and seen.service and not seen.leakspeed, 'completion knows the fields of the parsers')

  vim.api.nvim_buf_set_lines(0, 3, 4, false, { "filter: \"evt.Meta.log_type == '" })
  items = ask('textDocument/completion', 4, 31)
  seen = {}
  for _, item in ipairs(items or {}) do seen[item.label] = true end
  check(seen['ssh_failed-auth'], 'completion knows their texts, in a text that is no YAML')

  -- A file that another loader reads.
  vim.cmd('edit! ' .. vim.fn.fnameescape(vim.env.ACQUIS))
  vim.lsp.buf_attach_client(0, client)
  check(vim.wait(20000, function() return codes().A002 == 3 end), 'findings come for acquisition files, too')
  items = ask('textDocument/completion', 3, 3)
  seen = {}
  for _, item in ipairs(items or {}) do seen[item.label] = true end
  check(seen.listen_port and not seen.filenames, 'completion knows the keys of a kind of source')
  say('all is well')
end)
if not ok then
  say('failed: ' .. tostring(problem))
  vim.cmd('cquit 1')
end
vim.cmd('qall!')
