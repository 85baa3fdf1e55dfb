//go:build tools

// Names the foreign load generator that the tests and the bench run, so that go.mod and go.sum pin all it is made of.
package tools

import _ "fortio.org/fortio"
