# What is installed, in three parts: library (what programs run with), development (what they are built with), command.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Relative to the file itself, so that an installation may be moved, and installed under any --prefix.
file(RELATIVE_PATH PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" PC_PREFIX "${PC_PREFIX}")
# By name, and not by Requires.private: who links the shared library needs no development files of these, and some of
# their own pkg-config files ask for static libraries that nobody has installed.
pkg_check_modules(PRIVATE QUIET ${LIBRARY_MODULES})
list(REMOVE_ITEM PRIVATE_LIBRARY_DIRS ${CMAKE_C_IMPLICIT_LINK_DIRECTORIES})
list(TRANSFORM PRIVATE_LIBRARY_DIRS PREPEND -L)
list(TRANSFORM PRIVATE_LIBRARIES PREPEND -l)
list(JOIN PRIVATE_LIBRARY_DIRS " " PC_LIBS_PRIVATE)
list(JOIN PRIVATE_LIBRARIES " " names)
string(STRIP "${PC_LIBS_PRIVATE} ${names}" PC_LIBS_PRIVATE)
configure_file(cmake/llmlocal.pc.in llmlocal.pc @ONLY)

list(JOIN LIBRARY_MODULES " " MODULES)
set(PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/llmlocal)
configure_package_config_file(cmake/llmlocal-config.cmake.in llmlocal-config.cmake INSTALL_DESTINATION ${PACKAGE_DIR}
                              NO_SET_AND_CHECK_MACRO)
# As the soname: what the number before the first point says.
write_basic_package_version_file(llmlocal-config-version.cmake COMPATIBILITY SameMajorVersion)

install(TARGETS llmlocal EXPORT llmlocal-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
        NAMELINK_COMPONENT development INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS llmlocal-static EXPORT llmlocal-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT llmlocal-shared NAMESPACE llmlocal:: DESTINATION ${PACKAGE_DIR} COMPONENT development)
install(EXPORT llmlocal-static NAMESPACE llmlocal:: DESTINATION ${PACKAGE_DIR} COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/llmlocal-config.cmake ${CMAKE_BINARY_DIR}/llmlocal-config-version.cmake
        DESTINATION ${PACKAGE_DIR} COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/llmlocal.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
install(FILES include/llmlocal.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
if(TARGET llmlocal-cli)
  install(TARGETS llmlocal-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
  install(FILES docs/llmlocal.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT command)
endif()

include(cmake/debian.cmake)
