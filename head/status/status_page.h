#pragma once

#include <string>
#include <string_view>

namespace sparkspan::head::status {

// The page for browsers (status_page.html, part of the program): the same for everybody, without a
// word of what goes on here. Its script reads /status.json, with the key that its reader types in
// where the server asks for one, and shows it as text.
std::string_view StatusPage();

// The Content-Security-Policy to send with it: this page's own script and style, by their hashes,
// may run and read from this server; nothing else may, and the page cannot be framed.
const std::string& StatusPagePolicy();

}  // namespace sparkspan::head::status
