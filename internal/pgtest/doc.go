// Package pgtest starts PostgreSQL servers for tests, and discards them.
//
// A server is a process of the test binary, with its data in a folder under the system's temporary
// folder. It ends with the test binary, however that ends.
package pgtest
