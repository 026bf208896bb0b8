// The simplified API: its setjmp never leaves the library, so that no longjmp crosses Swift.
#include <png.h>
