// Debian 12 has libjpeg-turbo 2.1: the tj* calls, not tj3*.
#include <turbojpeg.h>
