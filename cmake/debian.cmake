# Debian packages, by CPack: libllmlocal0, libllmlocal-dev and llmlocal, made of the parts of install.cmake. `make deb`.
set(LLMLOCAL_MAINTAINER "The llmlocal authors <llmlocal@localhost>" CACHE STRING "Who the Debian packages are by: Name <address>")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "${LLMLOCAL_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL library development command)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_VERBATIM_VARIABLES ON)

# What the archive is linked with is in the development packages that own the pkg-config files.
set(development_depends "libllmlocal0 (= ${PROJECT_VERSION}), libc6-dev")
find_program(DPKG_QUERY dpkg-query)
foreach(module ${LIBRARY_MODULES})
  pkg_get_variable(folder ${module} pcfiledir)
  if(DPKG_QUERY)
    execute_process(COMMAND ${DPKG_QUERY} -S ${folder}/${module}.pc OUTPUT_VARIABLE owner ERROR_QUIET)
    if(owner MATCHES "^([^:,]+)")
      string(APPEND development_depends ", ${CMAKE_MATCH_1}")
    endif()
  endif()
endforeach()

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libllmlocal0)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "MLX language models from C - shared library
Loads language models in MLX's format and generates text with them, on the
processor, without Python. This package is what programs need to run.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libllmlocal-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${development_depends}")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "MLX language models from C - development files
Loads language models in MLX's format and generates text with them, on the
processor, without Python. This package has the header, which is the
documentation, the static library, and files for pkg-config and CMake.")

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME llmlocal)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMMAND_DESCRIPTION "run MLX language models at a terminal
Answers prompts, holds chats, converts GGUF files to MLX's format, and measures
models: their speed on this machine and what they make of a text.")

# The copyright, a changelog and packed manuals, as Debian wants them.
set(CPACK_DEBIAN_COPYRIGHT ${CMAKE_SOURCE_DIR}/cmake/debian_copyright)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/debian_files.cmake)
include(CPack)
