// Package pgtest starts PostgreSQL servers for tests, and throws them away.
//
// A server is a process of the test's own, with its data in a folder under the system's
// temporary one. It ends with the test binary, however that ends.
package pgtest
